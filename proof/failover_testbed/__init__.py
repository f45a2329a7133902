"""Emulated servers, fakes of the cluster's controllers, and a scenario player: the production controller runs on them without a cloud."""
