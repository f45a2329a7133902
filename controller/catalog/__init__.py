"""Application files: reading, checking and watching them, and the tables computed from them."""
