"""Demand, the requests that it makes, and what scales by it."""
