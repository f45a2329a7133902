"""The commands `failoverctl init`, `doctor`, `render`, `breaking-point`, `config`, `weights` and `uninstall`."""
