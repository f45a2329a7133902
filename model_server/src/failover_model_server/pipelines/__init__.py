"""Pipelines: how one batch of a task runs with torch, whatever the device. Backends build them; they import torch."""
