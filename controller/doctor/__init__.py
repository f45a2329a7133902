"""Looks at a live cluster once and says what it lacks for safe switches: checks, each with what was seen, why it matters and the fix."""
