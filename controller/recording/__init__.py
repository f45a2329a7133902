"""The format of recorded decisions, and the files that they are kept in."""
