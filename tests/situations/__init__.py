"""What the controller does in each situation that people ask about, played through the production pass; docs/situations.md shows it."""
