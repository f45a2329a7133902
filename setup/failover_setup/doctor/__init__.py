"""Examines a live cluster once for what safe mode changes need. Each check states its findings, why they matter and the fix."""
