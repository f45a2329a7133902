"""What a recording of a real Karpenter shows, and what a fake of it does in the same situation, in one form that can be compared."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "karpenter"

_TYPE = "node.kubernetes.io/instance-type"
_CAPACITY = "karpenter.sh/capacity-type"
_POOL = "karpenter.sh/nodepool"
_CONDITIONS = ("Launched", "Registered")


@dataclass(frozen=True, order=True)
class Moment:
    """Something that Karpenter did.

    Attributes:
        t: Seconds since the first pod was pending.
        what: What it was about, without names that are drawn at random.
    """

    t: float
    what: tuple[str, ...]


Story = dict[str, list[Moment]]
"""What Karpenter did by kind: ``claim``, ``gone``, ``refused``, ``blocked``, ``no place``, ``launched``, ``registered``."""


@dataclass(frozen=True)
class PodMark:
    """A pod was marked unschedulable, the first time or again."""

    t: float
    name: str
    pool: str
    instance_type: str


@dataclass
class Recording:
    """One recording.

    Attributes:
        story: What Karpenter did.
        marks: When pods were marked unschedulable.
        end: When the first pod was deleted; the situation is over then.
    """

    story: Story = field(default_factory=lambda: defaultdict(list))
    marks: list[PodMark] = field(default_factory=list)
    end: float = 0.0


def claim_words(claim: dict[str, Any]) -> tuple[str, ...]:
    """What a NodeClaim allows; Karpenter writes requirements in no particular order."""
    allowed = {one["key"]: " ".join(sorted(one["values"])) for one in claim["spec"]["requirements"]}
    return tuple(f"{key} {value}" for key, value in sorted(allowed.items()))


def refusal_words(event: dict[str, Any], zones: bool) -> tuple[str, ...]:
    """The text of a refusal, without the claim's name, and without the zone where `zones` is false."""
    text = str(event["message"]).replace(event["involvedObject"]["name"], "CLAIM")
    if not zones:
        for zone in ("us-west-2a", "us-west-2b", "us-west-2c"):
            text = text.replace(zone, "ZONE")
    return (text,)


def no_place_words(event: dict[str, Any]) -> tuple[str, ...]:
    """The reasons in a pod's `FailedScheduling`, sorted: their order follows a map of Go."""
    head, _, rest = str(event["message"]).partition(", ")
    reasons = (one.removeprefix("incompatible requirements, ") for one in rest.split("; "))
    return (head, *sorted(reasons))


def note_event(story: Story, t: float, event: dict[str, Any], *, zones: bool) -> None:
    """Adds what an event says, where it is one of those that a controller reads."""
    about, reason = event["involvedObject"], event["reason"]
    if reason == "InsufficientCapacityError":
        story["refused"].append(Moment(t, refusal_words(event, zones)))
    elif reason == "NoCompatibleInstanceTypes":
        story["blocked"].append(Moment(t, (about["name"], event["message"])))
    elif reason == "FailedScheduling" and event["source"]:
        story["no place"].append(Moment(t, no_place_words(event)))
    elif reason in _CONDITIONS and about["kind"] == "NodeClaim":
        story[reason.lower()].append(Moment(t, (event["message"],)))


def read_recording(name: str, *, zones: bool) -> Recording:
    """Reads a recording; skips the test where it is absent.

    Args:
        name: Its name.
        zones: Whether the zone that a refusal names is compared.
    """
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"recording {name}.jsonl is absent: it lives outside the project, in shared/data/karpenter")
    found = Recording()
    start = next(t for t, kind, change, _ in _lines(path) if (kind, change) == ("Pod", "ADDED"))
    for at, kind, change, obj in _lines(path):
        t = at - start
        if kind == "Event":
            note_event(found.story, t, obj, zones=zones)
        elif kind == "NodeClaim" and change in {"ADDED", "DELETED"}:
            found.story["claim" if change == "ADDED" else "gone"].append(Moment(t, claim_words(obj)))
        elif kind == "Pod" and change == "DELETED":
            found.end = t
            return found
        elif kind == "Pod" and _unschedulable(obj):
            selector = obj["spec"].get("nodeSelector", {})
            found.marks.append(PodMark(t, obj["metadata"]["name"], selector[_POOL], selector.get(_TYPE, "")))
    raise AssertionError(f"{path} deletes no pod")


def _lines(path: Path) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
    for line in filter(None, path.read_text().splitlines()):
        entry = json.loads(line)
        yield entry["t"], entry["kind"], entry["type"], entry["object"]


def _unschedulable(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "PodScheduled" and one.get("reason") == "Unschedulable" for one in conditions)
