"""Generators of documents and schemas, checks of them, and what runs fuzz targets and mutants."""
