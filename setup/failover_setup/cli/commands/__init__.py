"""The commands: signature and help. What a command does is imported when it runs, so `--help` loads nothing but this."""
