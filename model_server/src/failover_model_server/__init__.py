"""A model server for one accelerator: ready only when it is warm, batched, bounded, drained on SIGTERM."""
