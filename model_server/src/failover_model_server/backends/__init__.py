"""Backends: one for each kind of accelerator. Found by entry points; their libraries are imported when they load."""
