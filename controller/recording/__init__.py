"""The format and the files of recorded decisions."""
