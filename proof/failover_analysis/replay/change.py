"""Replaces the recorded application in a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import ConfigError
from controller.policy.model import Application
from failover_analysis.replay.rerun import Change


def changed_to(applications: Mapping[str, Application], *, whole: bool) -> Change:
    """Replaces recorded applications with those of a file.

    Args:
        applications: The file's applications by key.
        whole: Whether to replace units, prices and weights as well as the policy.

    Returns:
        A function from the recorded application to the one to decide about. It leaves an application that is not in the file as it is. It
        raises `ConfigError` for a unit that was not recorded, because nothing is known of its state.
    """

    def change(recorded: Application) -> Application:
        wanted = applications.get(recorded.key)
        if wanted is None:
            return recorded
        if not whole:
            return replace(recorded, policy=wanted.policy)
        known = {unit.name for unit in recorded.units}
        unknown = [unit.name for unit in wanted.units if unit.name not in known]
        if unknown:
            allowed = ", ".join(sorted(known))
            raise ConfigError(f"{recorded.key}: found unit {', '.join(unknown)}, which was not recorded; allowed: {allowed}")
        return wanted

    return change
