"""Reports of simulations and replays: one model, three renderers (HTML, Markdown, JSON)."""
