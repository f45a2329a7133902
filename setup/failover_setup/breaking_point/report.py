"""The result of a measurement, for people and for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from failover_setup.breaking_point.model import Bounds, Ending, Limit, Limits, Outcome, Step

HEADER: Final = f"{'step':>4} {'offered/s':>9} {'served/s':>9} {'p50 s':>7} {'p95 s':>7} {'errors':>7} {'accel.':>7}  result"

_WORDS: Final[Mapping[Limit, str]] = {
    Limit.LATENCY: "latency over its limit",
    Limit.PLATEAU: "throughput falls behind",
    Limit.ERRORS: "too many errors",
    Limit.ACCELERATOR: "accelerator over its limit",
}
_KINDS: Final = 3  # kinds of failures that a line shows


def words(limits: tuple[Limit, ...]) -> str:
    """Names limits in words."""
    return ", ".join(_WORDS[limit] for limit in limits)


def step_line(number: int, step: Step) -> str:
    """One step as a line below `HEADER`."""
    use = "unknown" if step.accelerator_use is None else f"{100 * step.accelerator_use:.0f} %"
    result = "✔ held" + (", confirmed" if step.long else "") if step.held else f"✖ {', '.join(step.exceeded)}"
    failures = sorted(step.failures.items(), key=lambda item: -item[1])[:_KINDS]
    tail = f" ({', '.join(f'{count} x {kind}' for kind, count in failures)})" if failures else ""
    cut = "; ended early" if step.cut_short else ""
    return (
        f"{number:>4} {step.rate:>9.4g} {step.throughput:>9.4g} {_seconds(step.p50_s)} {_seconds(step.p95_s)} "
        f"{100 * step.error_ratio:>5.1f} % {use:>7}  {result}{tail}{cut}"
    )


def _seconds(value: float) -> str:
    return f"{value:>7.3f}" if math.isfinite(value) else f"{'-':>7}"


def limits_text(limits: Limits) -> str:
    """The limits as the end of a sentence."""
    return (
        f"until p95 is over {limits.latency_s:g} s, errors over {100 * limits.error_ratio:g} %, the accelerator over "
        f"{100 * limits.accelerator_use:g} %, or the throughput {100 * limits.shortfall:g} % behind"
    )


def ending_text(outcome: Outcome, limits: Limits, bounds: Bounds) -> str:
    """How it ended, in sentences that include what to do."""
    match outcome.ending:
        case Ending.FOUND:
            return f"Breaking point: {_found(outcome.found)}. Beyond it: {words(outcome.limited_by)}."
        case Ending.INTERRUPTED:
            return f"Interrupted. {_known(outcome)}"
        case Ending.STEPS:
            return f"Not found within {bounds.steps} steps. {_known(outcome)} Raise --max-steps."
        case Ending.SECONDS:
            return f"Not found within {bounds.seconds / 60:g} minutes. {_known(outcome)} Raise --max-time or shorten --step."
        case Ending.REQUESTS:
            return f"Not found within {bounds.requests} requests. {_known(outcome)} Raise --max-requests or shorten --step."
        case Ending.HIGHEST_RATE:
            return f"No limit was reached at {bounds.rate:g} requests/s, the highest rate allowed. Raise --max-rate."
        case Ending.NEVER_HELD if not outcome.steps:
            return f"A single request takes {outcome.base_s:.3f} s, and {limits.latency_s:g} s is the limit: no rate can be held."
        case Ending.NEVER_HELD:
            return f"No rate was held, down to {min(step.rate for step in outcome.steps):g} requests/s."
        case Ending.NOT_RECOVERED:
            return f"The server did not recover from the last step. {_known(outcome)} Check it before you continue."
        case Ending.GENERATOR:
            return f"The load tool could not send that many requests. {_known(outcome)} Run it on a machine with more CPU."


def _found(step: Step | None) -> str:
    return "none" if step is None else f"{step.throughput:.4g} requests/s at p95 {step.p95_s:.3f} s"


def _known(outcome: Outcome) -> str:
    held = "No rate was held" if outcome.held is None else f"{outcome.held:g} requests/s were held"
    return f"{held}." if outcome.broke is None else f"{held}, {outcome.broke:g} were not."


def document(outcome: Outcome, about: Mapping[str, Any]) -> dict[str, Any]:
    """A measurement as plain JSON values, with None for NaN.

    Args:
        outcome: The result.
        about: The subject of the measurement: target, limits and so on.
    """
    return {
        **about,
        "ending": outcome.ending,
        "baseSeconds": _number(outcome.base_s),
        "heldPerSecond": outcome.held,
        "brokePerSecond": outcome.broke,
        "limitedBy": list(outcome.limited_by),
        "found": None if outcome.found is None else _plain(outcome.found),
        "steps": [_plain(step) for step in outcome.steps],
    }


def json_text(made: Mapping[str, Any]) -> str:
    """The document as text."""
    return json.dumps(made, indent=2) + "\n"


def _plain(step: Step) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in asdict(step).items()}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
