"""Fuzzing: every parser, with inputs that are nearly right."""
