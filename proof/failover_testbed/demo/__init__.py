"""The demo: scenarios, the environment that plays them, and the checks of their expectations."""
