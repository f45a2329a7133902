"""The rows as JUnit's XML, which CI systems show as tests. There is no standard of it: these are the elements that all of them read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from controller.clock import format_rfc3339
from controller.foreign import shown
from failover_setup.doctor.installed.checks import Row
from failover_setup.doctor.report import Level

_MOST: Final = 2000  # characters of a text
_REFUSED: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, not even escaped: https://www.w3.org/TR/xml/#charsets"""
_INSTALLATION: Final = "installation"


def junit(rows: Sequence[Row], host: str, now: float) -> str:
    """One suite for the installation, and one for each application.

    Args:
        rows: What came of the checks.
        host: The API server's URL.
        now: When they were made, seconds since the Unix epoch.
    """
    root = ET.Element("testsuites", {"name": "failoverctl verify-install", **_counts(rows)})
    for about in dict.fromkeys(row.about for row in rows):
        mine = [row for row in rows if row.about == about]
        name = _clean(f"failoverctl.{about or _INSTALLATION}")
        suite = ET.SubElement(
            root, "testsuite", {"name": name, **_counts(mine), "timestamp": format_rfc3339(now), "hostname": _clean(host)}
        )
        for row in mine:
            _case(suite, name, row)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(rows: Sequence[Row]) -> dict[str, str]:
    levels = [row.result.finding.level for row in rows]
    counted = {"tests": len(rows), "failures": levels.count(Level.PROBLEM), "errors": 0, "skipped": levels.count(Level.UNKNOWN)}
    return {**{name: str(count) for name, count in counted.items()}, "time": f"{sum(row.took_s for row in rows):.3f}"}


def _case(suite: ET.Element, name: str, row: Row) -> None:
    check, finding = row.result.check, row.result.finding
    case = ET.SubElement(suite, "testcase", {"classname": name, "name": check.name, "time": f"{row.took_s:.3f}"})
    seen = _clean(finding.seen)
    match finding.level:
        case Level.PROBLEM:
            failure = ET.SubElement(case, "failure", {"message": seen, "type": check.name})
            failure.text = _clean(f"proves: {check.requires}\nwhy: {check.why}\nfix: {finding.fix}")
        case Level.UNKNOWN:
            ET.SubElement(case, "skipped", {"message": _clean(f"{finding.seen}; {finding.fix}" if finding.fix else finding.seen)})
        case _:
            ET.SubElement(case, "system-out").text = seen


def _clean(value: str) -> str:
    """A text of bounded length without what XML refuses; each of its lines is fit to be shown."""
    lines = "\n".join(shown(line, _MOST) for line in value[:_MOST].split("\n"))
    return _REFUSED.sub("\N{REPLACEMENT CHARACTER}", lines)
