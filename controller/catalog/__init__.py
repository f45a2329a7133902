"""Application files: reading, checking, and what is computed from them."""
