"""The images: what they start from, and their Dockerfiles."""
