"""Decides recorded moments once more, and says what would be different."""
