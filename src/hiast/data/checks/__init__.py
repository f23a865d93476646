"""Finding files that cannot be used before training starts."""
