"""The switch benchmark: what a mode change costs under load."""
