"""docs/laboratory/contract.md says what the tests of this folder say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from failover_testbed import kube_api
from tools import contract_docs
from tools.contract_docs import PAGE, ROOT, SERVERS, Behaviour, differences, page, table

HINT = "run: python -m tools.contract_docs"


def test_the_page_is_up_to_date() -> None:
    """Every contract test is in the table with both servers; in a process of its own, since pytest does not run in pytest."""
    script = (
        "from tools.contract_docs import *\n"
        "rows = behaviours(collect())\n"
        "assert all(set(row.servers) == set(SERVERS) for row in rows), rows\n"
        "present = PAGE.read_text()\n"
        "raise SystemExit(page(present, rows) != present)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, f"{HINT}\n{done.stdout}{done.stderr}"


def test_a_row_shows_what_runs_where() -> None:
    """A behaviour that is not tested on a server says so."""
    both = Behaviour("Objects", "A | b.", dict.fromkeys(SERVERS, 1))
    many = Behaviour("Objects", "Cases.", dict.fromkeys(SERVERS, 3))
    one = Behaviour("Other", "Half.", {"emulated": 1})
    assert table([both, many, one]).splitlines()[4:6] == [
        "| A \\| b | same test | same test |",
        "| Cases | same test, 3 cases | same test, 3 cases |",
    ]
    assert table([one]).endswith("| Half | 1 cases | **not tested** |")


def test_the_known_differences_are_those_of_the_emulator() -> None:
    """The list has one home, the docstring of the package."""
    assert kube_api.__doc__ is not None
    assert differences().splitlines()[0].startswith("* ")
    assert differences() in PAGE.read_text()


def test_a_page_without_its_generated_part_is_refused() -> None:
    """Otherwise the table would silently not be there."""
    with pytest.raises(ValueError, match="no generated part behaviours"):
        page("# The contract\n", [])


def test_writing_gives_what_is_checked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the hint names replaces the generated parts and nothing else."""
    monkeypatch.setattr(contract_docs, "PAGE", tmp_path / "contract.md")
    monkeypatch.setattr(contract_docs, "collect", list)
    (tmp_path / "contract.md").write_text(
        "# A\n<!-- generated: behaviours -->\nold\n<!-- end -->\n<!-- generated: differences -->\n\n<!-- end -->\nB\n"
    )
    contract_docs.main()
    written = (tmp_path / "contract.md").read_text()
    assert written.startswith("# A\n")
    assert "old" not in written
    assert differences() in written
    assert written.endswith("<!-- end -->\nB\n")
