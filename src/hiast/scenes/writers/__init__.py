"""Drawn scenes as files, in the layout and the encoding in which each dataset is published: a module per dataset."""
