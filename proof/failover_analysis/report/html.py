"""Renders a report as one HTML page without scripts and external content. Its content security policy allows only its own style sheet."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from controller.policy.text import duration
from failover_analysis.report import chart, words
from failover_analysis.report.model import Column, Report, Table, Timeline

_FOLDER: Final = "templates"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("failover_analysis.report", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "spread_words": words.spread_words,
        "written": words.written,
        "time": words.time,
        "shapes": chart.shapes,
        "boxes": chart.boxes,
        "ticks": chart.ticks,
        "colours": _colours,
        "explained": _explained,
        "duration": duration,
    }
    made.filters["unbroken"] = _unbroken
    return made


def _unbroken(text: str) -> str:
    """Allows a range to break only before ``to``, so that no unit stands alone on a line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}to", " to")


def _explained(report: Report, table: Table) -> tuple[Column, ...]:
    """The columns of a table that no table above it explains."""
    tables = (*report.tables, *report.appendix)
    known = {column for one in tables[: tables.index(table)] for column in one.columns}
    return tuple(column for column in table.columns if column not in known)


def _colours(timeline: Timeline) -> tuple[str, ...]:
    """The services of a timeline in one order for all charts, so that a service has the same colour everywhere."""
    names = (one.name for panel in timeline.panels if panel.kind == "stack" for one in panel.series)
    return tuple(dict.fromkeys(names))


def html(report: Report) -> str:
    """Renders the page."""
    environment = _environment()
    loader = environment.loader
    if loader is None:
        raise RuntimeError("the templates are not packaged")
    style, _, _ = loader.get_source(environment, "report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # The style sheet is our own. Escaping it would change it, and the digest would no longer match.
    return environment.get_template("report.html.j2").render(report=report, style=Markup(style), policy=policy)  # noqa: S704
