"""Application files: reading and checking them."""
