"""Inputs that are nearly right, for every parser of the model server: ``make fuzz``."""
