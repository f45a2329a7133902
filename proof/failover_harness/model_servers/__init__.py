"""Servers with a known breaking point, and the project's model server."""
