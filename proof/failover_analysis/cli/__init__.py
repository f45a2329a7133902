"""The commands `failoverctl simulate`, `replay` and `worth`."""
