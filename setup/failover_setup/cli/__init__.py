"""The commands `failoverctl init`, `doctor`, `render`, `breaking-point`, `config`, `weights`, `verify-install` and `uninstall`."""
