"""Layouts of datasets on disk, and a datamodule for each."""
