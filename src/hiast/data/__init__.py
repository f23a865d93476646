"""Files to samples: readers, augmentation, pseudo-labelled data, samplers and datamodules."""
