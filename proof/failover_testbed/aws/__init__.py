"""AWS as moto emulates it, with what moto lacks."""
