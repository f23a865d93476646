"""Reading images, labels, lists of files, archives and the cache."""
