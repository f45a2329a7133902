"""The applications as FailoverApplication objects of the cluster. A faulty object never stops a running application."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from controller.catalog.application import ApplicationFile
from controller.catalog.loader import Claim, claims_of, judged
from controller.clients.kube import FAILOVER_APPLICATIONS, KubeSession, Object, Resource
from controller.clock import Clock
from controller.documents import Document, ErrorText, place_text
from controller.objects import text
from controller.policy.model import Application
from controller.signals.watch import Watch

_FIRST_LIST_S: Final = 10.0  # how long a start waits for the objects
_REMEDY: Final = (
    "the applications that run keep running; install the CustomResourceDefinition (deploy/crds), and allow the controller's ServiceAccount "
    f"to get, list and watch {FAILOVER_APPLICATIONS.name} in a ClusterRole"
)


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """What one poll found.

    Attributes:
        applications: The set to run now.
        error: Every fault, "" if there is none, or the same was reported before.
        differs: Whether the set to run is another.
    """

    applications: Mapping[str, Application]
    error: str
    differs: bool


Name = tuple[str, str]
"""Namespace and name of an object."""


class Acceptance(StrEnum):
    """Why an object is in use, or is not: the reason of its condition ``Accepted``."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    CONFLICTED = "Conflicted"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one object.

    Attributes:
        name: Its namespace and name.
        uid: Its uid.
        generation: The generation that was judged last; a poll judges a newer one.
        acceptance: Whether that generation is in use, and why not.
        problem: Every fault with its place, bounded; "" if there is none.
        key: `Application.key` of the generation that runs; "" if none does.
        status: The status that the object has.
    """

    name: Name
    uid: str
    generation: int
    acceptance: Acceptance
    problem: str
    key: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Sound:
    """A generation in which nothing is wrong; another application may still have what it claims."""

    application: Application
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What `ObjectCatalog.poll` found of an object; see `Verdict`."""

    generation: int
    acceptance: Acceptance
    problem: str
    key: str


@dataclass(slots=True)
class _Held:
    """What is kept of one object."""

    uid: str
    generation: int
    created: str
    status: Mapping[str, Any]
    new: _Sound | None  # the present generation; None: it has a fault
    problem: str  # that fault
    accepted: _Sound | None = None  # the last generation that was in use
    judged: _Judgement | None = None  # None: no poll has seen it

    @property
    def ran(self) -> bool:
        """Whether a controller has run it before."""
        return self.accepted is not None or bool(self.status.get("mode"))

    def judge(self, chosen: _Sound | None, clash: str) -> None:
        """Notes which generation runs now, and why it is not the present one."""
        refused = Acceptance.INVALID if self.new is None else Acceptance.CONFLICTED
        acceptance = Acceptance.ACCEPTED if chosen is not None and chosen is self.new else refused
        self.accepted = chosen
        self.judged = _Judgement(self.generation, acceptance, self.problem or clash, "" if chosen is None else chosen.application.key)


class ObjectCatalog:
    """Watches the FailoverApplications of all namespaces, and judges them one by one.

    A faulty new generation keeps the last accepted one of that object running, and touches no other. Of two that claim the same routing
    object or ScaledObject, the older one has it. A list that fails, or a kind that is gone, ends no application: only a deletion that the
    server reports, or a complete list without the object, does.

    Args:
        session: Connection to the API server.
        clock: The clock.
    """

    def __init__(self, session: KubeSession, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[Name, _Held] = {}
        self._dirty, self._listed = False, threading.Event()
        self._watch = Watch(session, FAILOVER_APPLICATIONS, None, self, clock)
        self._applications: Mapping[str, Application] = {}
        self._error = ""
        self._before: tuple[Mapping[str, Application], str] = ({}, "")

    # --- what the watch delivers ---------------------------------------------------------------------------------------------------------

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object], /) -> None:
        """Takes a complete list: what is not in it was deleted."""
        del resource, namespace
        with self._lock:
            self._held, self._dirty = dict(filter(None, map(self._judge, objects))), True
        self._listed.set()

    def rewound(self, resource: Resource, namespace: str | None, /) -> None:
        """The next list replaces everything anyway."""

    def changed(self, resource: Resource, namespace: str | None, kind: str, obj: Object, /) -> None:
        """Takes one change."""
        del resource, namespace
        with self._lock:
            if (found := self._judge(obj)) is None:
                return
            name, held = found
            same = (before := self._held.get(name)) is not None and (before.uid, before.generation) == (held.uid, held.generation)
            if kind == "DELETED":
                self._held.pop(name, None)
            else:
                self._held[name] = held
            self._dirty = self._dirty or not same or kind == "DELETED"

    def _judge(self, obj: Object) -> tuple[Name, _Held] | None:
        """One object; one whose generation was judged before keeps that judgement. None for what is no object."""
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict):
            return None
        name = (text(metadata, "namespace"), text(metadata, "name"))
        uid, number, status = text(metadata, "uid"), metadata.get("generation"), obj.get("status")
        generation, status = number if isinstance(number, int) else 0, status if isinstance(status, dict) else {}
        before = self._held.get(name)
        if before is not None and before.uid == uid and before.generation == generation:
            return name, replace(before, status=status)
        new, problem = _sound(obj, name)
        held = _Held(uid, generation, text(metadata, "creationTimestamp"), status, new, problem)
        if before is not None and before.uid == uid:
            held.accepted, held.judged = before.accepted, before.judged
        return name, held

    # --- what the service asks -----------------------------------------------------------------------------------------------------------

    @property
    def applications(self) -> Mapping[str, Application]:
        """The set that runs."""
        return self._applications

    @property
    def error(self) -> str:
        """Why not every object is in use; "" if each is."""
        return self._error

    @property
    def missing(self) -> str:
        """What keeps a replica without any application from being ready: the first may be applied after the controller is installed."""
        return "" if self._listed.is_set() else "no list of FailoverApplication objects yet"

    @property
    def partial(self) -> bool:
        """Whether an object that a controller has run does not run here, because its present generation has a fault."""
        with self._lock:
            return any(one.accepted is None and one.new is None and one.ran for one in self._held.values())

    def start(self) -> Mapping[str, Application]:
        """Begins to watch and waits for the first list, within bounds. Without it nothing runs, until it comes."""
        self._watch.start()
        self._clock.wait(self._listed, _FIRST_LIST_S)
        self.poll()
        return self._applications

    def stop(self) -> None:
        """Ends the watch."""
        self._watch.stop()

    def poll(self) -> CatalogChange | None:
        """Takes over what has changed. Call it from one thread only.

        Returns:
            None if nothing has changed. `CatalogChange.error` is what is wrong now, "" if nothing is or the same was reported before.
        """
        with self._lock:
            dirty, self._dirty = self._dirty, False
            new = self._resolved() if dirty else self._applications
            faults = self._faults()
        if new == self._applications and faults == self._error:
            return None
        self._before = old, reported = self._applications, self._error
        self._applications, self._error = new, faults
        return CatalogChange(new, faults if faults != reported else "", new != old)

    def undo(self) -> None:
        """Forgets the last change: it could not be taken over, and the next poll finds it again."""
        self._applications, self._error = self._before
        with self._lock:
            self._dirty = True

    def verdicts(self) -> list[Verdict]:
        """What became of each object, as of the last poll: what it has not seen is neither in use nor refused."""
        with self._lock:
            return [
                Verdict(name, one.uid, judged.generation, judged.acceptance, judged.problem, judged.key, one.status)
                for name, one in self._held.items()
                if (judged := one.judged) is not None
            ]

    def _resolved(self) -> Mapping[str, Application]:
        """The set to run: the oldest object first, each with its new generation, or else with the last accepted one."""
        first: dict[tuple[str, str, str], Name] = {}
        running: dict[str, Application] = {}
        for name, held in sorted(self._held.items(), key=lambda item: (item[1].created, item[0])):
            chosen, clash = None, ""
            for one in (held.new, held.accepted):
                if one is None:
                    continue
                taken = [(claim, first[claim.what]) for claim in one.claims if claim.what in first]
                if not taken:
                    chosen = one
                    break
                clash = clash or _clash(taken)
            held.judge(chosen, clash)
            if chosen is not None:
                first |= dict.fromkeys((claim.what for claim in chosen.claims), name)
                running[chosen.application.key] = chosen.application
        return dict(sorted(running.items()))

    def _faults(self) -> str:
        faults, health = ErrorText(), self._watch.health()
        if health.absent:
            faults.add([f"{FAILOVER_APPLICATIONS.name}: {health.problem}; {_REMEDY}"])
        for (namespace, name), one in sorted(self._held.items()):
            if one.judged is not None and one.judged.problem:
                faults.add(f"FailoverApplication {namespace}/{name}: {line}" for line in one.judged.problem.split("\n"))
        return str(faults)


def application_of(obj: Object) -> Application | None:
    """The application of an object; None where it has a fault."""
    sound, _ = _sound(obj, (text(obj, "metadata", "namespace"), text(obj, "metadata", "name")))
    return None if sound is None else sound.application


def _sound(obj: Object, name: Name) -> tuple[_Sound | None, str]:
    """The application of an object, or None and every fault with its place, bounded."""
    data = {
        "apiVersion": obj.get("apiVersion", FAILOVER_APPLICATIONS.api_version),  # an entry of a list may lack both
        "kind": obj.get("kind", FAILOVER_APPLICATIONS.kind),
        "metadata": {"namespace": name[0], "name": name[1]},
        "spec": obj.get("spec"),
    }
    model, problems = judged(ApplicationFile, Document("", 0, data))
    if model is not None:
        return _Sound(model.to_policy(), tuple(claims_of(model))), ""
    faults = ErrorText()
    faults.add(f"{place_text(one.place)}: {one.text}" if one.place else one.text for one in problems)
    return None, str(faults)


def _clash(taken: Iterable[tuple[Claim, Name]]) -> str:
    faults = ErrorText()
    for claim, (namespace, name) in taken:
        faults.add([f"{place_text(claim.place)}: {claim.clash(f'the older FailoverApplication {namespace}/{name}')}"])
    return str(faults)
