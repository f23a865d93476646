"""The commands. Each module here imports nothing heavy before it has read its arguments."""
