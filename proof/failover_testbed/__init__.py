"""The embedded environment: emulated servers and a scenario player, so that the production controller can run without a cloud."""
