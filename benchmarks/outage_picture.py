"""Draws the outage of docs/worth.md: who served the requests, without the controller and with it. `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from benchmarks.worth import ROOT, kept, world
from failover_analysis.simulation.recording import Row
from failover_analysis.simulation.run import Simulation

PICTURE: Final = ROOT / "docs" / "images" / "outage.svg"
SEED: Final = 3
"""The seed whose result with nothing installed is the median."""

_PANELS: Final = {"none": "Nothing installed", "two-mode": "failoverctl"}
_ROW_S: Final = 300.0
_FROM_S, _TO_S = 3.0 * 3600, 11.0 * 3600
_OUT: Final = (5.0 * 3600, 8.0 * 3600)  # of the world `day`
_WIDTH, _HEIGHT, _LEFT, _GAP = 760, 150, 50, 62
_MOST: Final = 3200.0  # requests a minute, the top of the scale
_COLOURS: Final = ("#2f6db3", "#5b94cf", "#86b3de", "#aecdea", "#d3e4f4")
_LATE: Final = "#d43c2f"


def _x(since: float) -> float:
    return _LEFT + (since - _FROM_S) / (_TO_S - _FROM_S) * _WIDTH


def _panel(policy: str, top: float) -> Iterator[str]:
    made = world("outage", policy, SEED)
    rows = [one for one in _rows(policy) if _FROM_S <= one.at - made.start <= _TO_S]
    run = next(one for one in kept() if (one.day, one.policy, one.seed) == ("outage", policy, SEED))
    bottom = top + _HEIGHT
    changes = [one for one, before in zip(rows[1:], rows, strict=False) if one.mode != before.mode]
    title = f"{_PANELS[policy]}: {100 * run.figures.in_time:.2f} % in time, ${run.figures.dollars:.0f} for the day"
    yield f'<text x="{_LEFT}" y="{top - 8}" class="title">{title}</text>'
    below = [0.0] * len(rows)
    for unit, colour in zip(made.application.units, _COLOURS, strict=True):
        above = [low + row.served.get(unit.name, 0.0) for low, row in zip(below, rows, strict=True)]
        yield _band(rows, made.start, below, above, bottom, colour)
        limit = unit.latency_limit_s or float("inf")
        for begin, end in _stretches([row.latency_s.get(unit.name, 0.0) > limit for row in rows]):
            yield _band(rows[begin:end], made.start, below[begin:end], above[begin:end], bottom, _LATE)
        below = above
    for row in changes:
        x = _x(row.at - made.start)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="mark"/>'
        yield f'<text x="{x + 3:.1f}" y="{top + 12}">{row.mode} mode</text>'
    yield f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{bottom}" y2="{bottom}" class="axis"/>'
    for count in (1000, 2000, 3000):
        yield f'<text x="{_LEFT - 6}" y="{bottom - count / _MOST * _HEIGHT + 4:.1f}" class="scale">{count:,}</text>'


def _rows(policy: str) -> Sequence[Row]:
    return Simulation(replace(world("outage", policy, SEED), row_s=_ROW_S), SEED).run().rows


def _stretches(marked: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where it holds: the first row of each stretch with the row before it, and the row after its last."""
    begin = None
    for index, here in enumerate((*marked, False)):
        if here and begin is None:
            begin = max(0, index - 1)
        elif not here and begin is not None:
            yield begin, index
            begin = None


def _band(rows: Sequence[Row], start: float, below: Sequence[float], above: Sequence[float], bottom: float, colour: str) -> str:
    def point(row: Row, value: float) -> str:
        return f"{_x(row.at - start):.1f},{bottom - value / _MOST * _HEIGHT:.1f}"

    there = [point(row, value) for row, value in zip(rows, above, strict=True)]
    back = [point(row, value) for row, value in zip(rows, below, strict=True)]
    return f'<polygon points="{" ".join((*there, *reversed(back)))}" fill="{colour}"/>'


def picture() -> str:
    """The drawing."""
    first, second = 62.0, 62.0 + _HEIGHT + _GAP
    bottom = second + _HEIGHT
    left, right = _x(_OUT[0]), _x(_OUT[1])
    made = world("outage", "none", SEED)
    units = zip(made.application.units, _COLOURS, strict=True)
    legend = [(unit.instance_type if "g5" not in unit.name else unit.name.removeprefix("sd21-"), colour) for unit, colour in units]
    width, height = _LEFT + _WIDTH + 16, bottom + 66
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" font-family="sans-serif" font-size="12">',
        "<title>Requests a minute by accelerator, while inf2.xlarge and g5.xlarge cannot be had for three hours</title>",
        "<style>.title{font-size:14px;font-weight:bold}.scale{text-anchor:end;fill:#555}.axis{stroke:#555}",
        ".mark{stroke:#111;stroke-dasharray:4 3}</style>",
        f'<rect width="{width}" height="{height:.0f}" fill="#fff"/>',
        *(f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_HEIGHT}" fill="#fbe9e7"/>' for top in (first, second)),
        f'<text x="{left:.1f}" y="22">EC2 has no inf2.xlarge and no g5.xlarge, in any zone, for three hours</text>',
        f'<path d="M{left:.1f} 36V30H{right:.1f}V36" fill="none" stroke="#b71c1c"/>',
        *_panel("none", first),
        *_panel("two-mode", second),
    ]
    for index, (name, colour) in enumerate([*legend, ("late: over the latency limit", _LATE)]):
        x = _LEFT + index * 112
        parts.append(f'<rect x="{x}" y="{bottom + 38:.0f}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{bottom + 48:.0f}">{name}</text>')
    hours = range(round(_FROM_S / 3600), round(_TO_S / 3600) + 1)
    parts += [f'<text x="{_x(3600.0 * hour):.1f}" y="{bottom + 18:.0f}" text-anchor="middle">{hour + 4:02d}:00</text>' for hour in hours]
    return "\n".join((*parts, "</svg>", ""))


if __name__ == "__main__":
    PICTURE.write_text(picture())
