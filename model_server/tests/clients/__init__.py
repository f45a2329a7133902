"""Client libraries of others, with their defaults, against the server as a process."""
