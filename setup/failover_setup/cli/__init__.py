"""The commands `failoverctl init`, `doctor`, `render`, `breaking-point`, `config` and `weights`."""
