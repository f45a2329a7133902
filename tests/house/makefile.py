"""What the Makefile has, read from its text."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def targets() -> set[str]:
    """The names that a person may type after `make`."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", "")
    heads = re.findall(r"^([a-z][\w -]*):(?!=)", text, re.MULTILINE)
    return {target for head in heads for target in head.split()}
