"""From files to samples: datasets, samplers and loaders."""
