"""What is left of the controller in a cluster that it has been removed from."""
