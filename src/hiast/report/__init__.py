"""The report of a run, and the comparison of several: facts from run directories, drawn as pages of HTML."""
