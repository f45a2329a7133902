"""The application that is replayed instead of the recorded one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import ConfigError
from controller.policy.model import Application
from failover_analysis.replay.rerun import Change


def changed_to(applications: Mapping[str, Application], *, whole: bool) -> Change:
    """Replaces recorded applications by those of a file.

    Args:
        applications: By key.
        whole: Whether units, prices and weights are replaced as well, or the policy alone.

    Returns:
        What makes the application to be decided about. An application that is not in the file stays as it is. Raises `ConfigError` for a
        unit that was not recorded: nobody knows how it was.
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
