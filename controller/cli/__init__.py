"""The `failoverctl` command line."""
