"""`failoverctl version`, and the commit that this program was made from."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from controller import __version__

_DISTRIBUTION: Final = "mixed-accelerator-failover"
_ROOT: Final = Path(__file__).parents[2]
_TIMEOUT_S: Final = 5.0
_SHOWN: Final = 12


def commit() -> str:
    """The installed commit, or that of the working tree, with ``+`` if files were changed; "" if unknown."""
    return _installed() or _checked_out()


def _installed() -> str:
    """The commit as pip records it for an installation from a repository (PEP 610)."""
    try:
        noted = json.loads(distribution(_DISTRIBUTION).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    return str(noted.get("vcs_info", {}).get("commit_id", ""))[:_SHOWN]


def _checked_out() -> str:
    if not (_ROOT / ".git").exists():
        return ""
    head = _git("rev-parse", f"--short={_SHOWN}", "HEAD")
    return head + ("+" if head and _git("status", "--porcelain", "--", "controller") else "")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def version_line() -> str:
    """The version, the commit and the Python that runs it."""
    made = commit()
    return f"failoverctl {__version__}{f' ({made})' if made else ''}, Python {platform.python_version()}"
