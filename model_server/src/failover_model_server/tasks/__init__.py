"""Tasks: what a request and a response are, and the work on the processor around the model. Found by entry points."""
