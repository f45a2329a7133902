"""The running controller: tick, executor, state, scheduling, health."""
