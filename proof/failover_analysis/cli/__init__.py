"""The commands `failoverctl simulate` and `failoverctl replay`."""
