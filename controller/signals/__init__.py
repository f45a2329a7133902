"""Observation: watches and polls that maintain the view from which snapshots are taken. Nothing here decides or acts."""
