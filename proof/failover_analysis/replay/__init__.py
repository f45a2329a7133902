"""Decides recorded moments again and reports the differences."""
