"""Generators of documents and schemas, and checks of them."""
