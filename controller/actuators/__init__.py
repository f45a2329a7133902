"""What acts: applies the actions of a plan, and nothing that is not in one."""
