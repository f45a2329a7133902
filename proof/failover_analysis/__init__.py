"""Simulation in virtual time, replay of recorded decisions, and the reports on both."""
