"""Application files: reading, checking and watching them."""
