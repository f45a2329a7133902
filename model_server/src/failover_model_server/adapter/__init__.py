"""The thin adapter beside vLLM: what the rest of the stack expects of a model server, in front of an engine that has its own ideas."""
