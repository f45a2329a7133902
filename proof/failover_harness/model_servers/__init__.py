"""Servers under load whose breaking point is known, and our own model server."""
