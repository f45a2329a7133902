"""Reads a live stack that somebody built and writes the application file for it: what was inferred, from what, and what could not be."""
