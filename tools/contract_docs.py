"""Writes the table in docs/laboratory/contract.md from the contract tests themselves: ``python -m tools.contract_docs``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from failover_testbed import kube_api
from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "laboratory" / "contract.md"
TESTS: Final = ROOT / "tests" / "contract"
SERVERS: Final = ("emulated", "real")


@dataclass(slots=True)
class Behaviour:
    """A row of the table.

    Attributes:
        module: First line of the docstring of the test's module.
        sentence: The test's docstring.
        servers: Number of cases by server name.
    """

    module: str
    sentence: str
    servers: dict[str, int] = field(default_factory=dict)


class _Collected:
    """Collects the tests that pytest finds."""

    def __init__(self) -> None:
        self.items: Sequence[pytest.Item] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Called by pytest."""
        self.items = list(session.items)


def collect() -> list[pytest.Item]:
    """The contract tests of both servers. Not for use inside a test, because pytest does not run in pytest."""
    collected = _Collected()
    options = ["--collect-only", "-qq", "--assert=plain", "-p", "no:randomly", "--tier", "integration,cluster"]
    with redirect_stdout(io.StringIO()):
        code = pytest.main([*options, str(TESTS)], plugins=[collected])
    if code is not pytest.ExitCode.OK:
        raise RuntimeError(f"the contract tests could not be collected: {code!r}")
    return list(collected.items)


def behaviours(items: Iterable[pytest.Item]) -> list[Behaviour]:
    """The rows, in order of the files.

    Raises:
        ValueError: A test has no docstring of one line, or does not say on which servers it runs.
    """
    rows: dict[str, Behaviour] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or "server" not in item.fixturenames:
            continue
        callspec = getattr(item, "callspec", None)
        sentence = (item.function.__doc__ or "").strip()
        if callspec is None or not sentence or "\n" in sentence:
            raise ValueError(f"{item.nodeid}: a contract test needs a docstring of one line and must run on {' and '.join(SERVERS)}")
        row = rows.setdefault(item.nodeid.partition("[")[0], Behaviour(_title(item), sentence))
        server = callspec.params["server"]
        row.servers[server] = row.servers.get(server, 0) + 1
    return list(rows.values())


def _title(item: pytest.Function) -> str:
    return str(item.module.__doc__ or "").splitlines()[0].rstrip(".")


def table(rows: Sequence[Behaviour]) -> str:
    """The generated part: a table for each module."""
    parts: list[str] = []
    module = ""
    for row in rows:
        if row.module != module:
            module = row.module
            parts.append(f"\n### {module}\n\n| behaviour | {' | '.join(SERVERS)} |\n|---|{'---|' * len(SERVERS)}\n")
        parts.append(f"| {row.sentence.rstrip('.').replace('|', chr(92) + '|')} | {_verdicts(row)} |\n")
    return "".join(parts).strip("\n")


def _verdicts(row: Behaviour) -> str:
    same = len({row.servers.get(server, 0) for server in SERVERS}) == 1
    cases = row.servers.get(SERVERS[0], 0)
    shown = "same test" if cases == 1 else f"same test, {cases} cases"
    return " | ".join(
        shown if same else (f"{row.servers[server]} cases" if server in row.servers else "**not tested**") for server in SERVERS
    )


def differences() -> str:
    """The known differences, from the docstring of the emulator's package."""
    listed = re.search(r"Known differences[^:]*:\n\n(.*)\Z", kube_api.__doc__ or "", re.DOTALL)
    if listed is None:
        raise ValueError("proof/failover_testbed/kube_api/__init__.py lists no known differences")
    return listed[1].strip().replace("``", "`")


def page(present: str, rows: Sequence[Behaviour]) -> str:
    """docs/laboratory/contract.md with its generated parts replaced.

    Raises:
        ValueError: A part's markers are missing.
    """
    for name, body in (("behaviours", table(rows)), ("differences", differences())):
        present = replaced("docs/laboratory/contract.md", present, name, body)
    return present


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(PAGE.read_text(), behaviours(collect())))


if __name__ == "__main__":
    main()
