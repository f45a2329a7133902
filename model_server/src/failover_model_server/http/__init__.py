"""The HTTP door: the seed's routes, the Open Inference Protocol, probes, metrics."""
