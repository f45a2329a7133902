"""What `make bench-model-server` runs in the environment of the pipelines."""
