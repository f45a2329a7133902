"""The policies that a simulation compares: built-in ones by name, those of files, and sweeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from controller.catalog.application import PolicyFile
from controller.documents import check, config_error, read_documents
from controller.errors import ConfigError
from controller.policy.model import Mode, Override, PlannedMode, PolicySettings, Strategy
from failover_analysis.report.built_in_policies import BUILT_IN, NAMES
from failover_analysis.simulation.scenario import load_policy
from failover_analysis.simulation.setup import Algorithm, Installed, Setup

MOST: Final = 20
"""Most policies of one run, sweeps included: each is simulated with every seed."""

_HASH: Final = 12


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy to simulate.

    Attributes:
        name: For people; unique in a run.
        words: A description.
        policy: Its settings.
        pinned: The mode that it never leaves; None if it decides by itself.
        options: The command-line options that select it.
        swept: In a sweep, the field and its value.
        installed: What may change the routing and the scalers. Without the controller, its policy decides nothing.
    """

    name: str
    words: str
    policy: PolicySettings
    pinned: Mode | None = None
    options: tuple[str, ...] = ()
    swept: tuple[str, str] | None = None
    installed: Installed = Installed.CONTROLLER

    @property
    def digest(self) -> str:
        """A hash of the settings that its strategy uses, which does not depend on the name."""
        used = [one.name for one in fields(self.policy) if one.metadata.get("strategy", self.policy.strategy) is self.policy.strategy]
        settings = ((name, getattr(self.policy, name)) for name in used)
        values = {name: sorted(map(str, one)) if isinstance(one, frozenset) else one for name, one in settings}
        if not self.ours:
            values = {"installed": self.installed.value}
        text = json.dumps({**values, "pinned": self.pinned}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH]

    @property
    def ours(self) -> bool:
        """Whether the controller is installed."""
        return self.installed is Installed.CONTROLLER

    @property
    def file_name(self) -> str:
        """The name, made fit for a file name."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", self.name)

    def applied(self, setup: Setup) -> Setup:
        """The setup of a run with this policy."""
        setup = replace(setup, application=replace(setup.application, policy=self.policy))
        if not self.ours:
            made = replace(setup, installed=self.installed, mode=Mode.COST, override=Override())
            if self.installed is not Installed.PRIORITY_LIST:
                return made
            return replace(made, mode=Mode.CAPACITY, algorithm=Algorithm.LEAST_OUTSTANDING)
        if self.pinned is None:
            return setup
        return replace(
            setup, mode=self.pinned, override=Override(pinned_mode=self.pinned, pinned_why=f"compared: always {self.pinned} mode")
        )


_FIELDS: Final = frozenset(str(PolicyFile.model_fields[field.name].alias) for field in fields(PolicySettings))


BASELINES: Final[Mapping[str, Installed]] = {"none": Installed.NOTHING, "sample": Installed.AWS_SAMPLE}
"""What a user of the AWS sample has without the controller: each report has them."""

_INSTALLED: Final[Mapping[str, Installed]] = {**BASELINES, "priority-list": Installed.PRIORITY_LIST}


def with_baselines(compared: Sequence[Contender], base: PolicySettings) -> tuple[Contender, ...]:
    """The policies, and those of `BASELINES` that are missing.

    Args:
        compared: The requested policies.
        base: The policy of the simulation's application file.
    """
    names = {one.name for one in compared}
    return (*compared, *(_one(name, base) for name in BASELINES if name not in names))


def own(policy: PolicySettings) -> Contender:
    """The policy of the simulation's application file."""
    return Contender(str(policy.strategy), "the policy of the simulation's application file", policy)


def contenders(wanted: Sequence[str], changes: Sequence[str], sweeps: Sequence[str], base: PolicySettings) -> tuple[Contender, ...]:
    """The requested policies.

    Args:
        wanted: Names from `NAMES`, or files (see `load_policy`); if empty, the base.
        changes: ``field=value``, applied to every policy.
        sweeps: ``field=value,value``: the first policy with each of the values.
        base: The policy of the simulation's application file.

    Raises:
        ConfigError: A policy is unknown or requested twice, or there are too many.
    """
    named = [_one(one, base) for one in wanted] or [own(base)]
    for change in changes:
        field, value = _field(change, "--set", "FIELD=VALUE")
        named = [_with(one, field, value, "--set") if one.ours else one for one in named]
    if sweeps and not named[0].ours:
        raise ConfigError(f"--sweep: found {named[0].name} as the first policy; allowed: a policy of the controller")
    swept = [one for sweep in sweeps for one in _swept(sweep, named[0])]
    everything = (*named, *swept)
    names = [one.name for one in everything]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--policy, --sweep: found {', '.join(twice)} twice; allowed: each name once (a file counts by its name)")
    if len(everything) > MOST:
        raise ConfigError(f"--policy, --sweep: found {len(everything)} policies; allowed: {MOST}")
    return everything


def _one(wanted: str, base: PolicySettings) -> Contender:
    changes: Mapping[str, Contender] = {
        "two-mode": Contender("", "", replace(base, strategy=Strategy.TWO_MODE)),
        "adaptive": Contender("", "", replace(base, strategy=Strategy.ADAPTIVE)),
        "planned": Contender("", "", replace(base, strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)),
        "always-cost": Contender("", "", base, Mode.COST),
        "always-capacity": Contender("", "", base, Mode.CAPACITY),
        **{name: Contender("", "", base, installed=installed) for name, installed in _INSTALLED.items()},
    }
    if wanted in changes:
        return replace(changes[wanted], name=wanted, words=BUILT_IN[wanted], options=("--policy", wanted))
    path = Path(wanted)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"--policy: found {wanted!r}; allowed: {', '.join(NAMES)}, or a .yaml file with what stands under spec.policy")
    return Contender(path.stem, f"the policy of {path.name}", load_policy(path), options=("--policy", wanted))


def _swept(sweep: str, first: Contender) -> Iterable[Contender]:
    name, values = _field(sweep, "--sweep", "FIELD=VALUE,VALUE")
    for value in values.split(","):
        yield replace(_with(first, name, value, "--sweep"), swept=(name, value))


def _field(text: str, option: str, form: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in _FIELDS or not value:
        raise ConfigError(f"{option}: found {text!r}; allowed: {form} with a field of a policy: {', '.join(sorted(_FIELDS))}")
    return name, value


def _with(contender: Contender, name: str, value: str, option: str) -> Contender:
    """The policy with another value in one field, as an option of the command line says."""
    changed = _changed(contender.policy, name, value, option)
    added = f"{contender.name}, {name} {value}"
    return replace(
        contender,
        name=added,
        words=f"{contender.words}, with {name} {value}",
        policy=changed,
        options=(*contender.options, "--set", f"{name}={value}"),
    )


def _changed(policy: PolicySettings, name: str, value: str, option: str) -> PolicySettings:
    """A policy with another value in one field.

    Args:
        policy: The policy.
        name: The field's name in a policy file.
        value: The value as written in a policy file.
        option: The option that says so, for the error.

    Raises:
        ConfigError: The value is invalid.
    """
    same = {field.name: getattr(policy, field.name) for field in fields(PolicySettings) if field.name != "trip_causes"}
    whole = PolicyFile(trip_causes=tuple(sorted(policy.trip_causes)), **same).model_dump(mode="json", by_alias=True)
    document = read_documents(f"{name}: {value}".encode(), f"{option} {name}={value}")[0]
    model, problems = check(PolicyFile, replace(document, data={**whole, **document.data}))
    if model is None:
        raise config_error(problems)
    return model.to_policy()
