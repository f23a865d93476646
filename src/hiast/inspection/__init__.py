"""Looking at the data of a scenario before it is trained on: every file opened, and a report of what was found."""
