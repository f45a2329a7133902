"""The pages show the matrix as it is, and claim nothing beyond it."""

from __future__ import annotations

from failover_setup.matrix import Status, matrix
from tools.matrix_docs import COMPATIBILITY, pages, short


def test_the_pages_are_generated() -> None:
    """`make docs` writes them."""
    for path, text in pages().items():
        assert path.read_text() == text, "run make docs"


def test_the_short_table_names_only_what_works() -> None:
    """Every model that it has for a device has a row there that works."""
    for line in short().splitlines()[2:]:
        devices, *said = (cell.strip() for cell in line.strip("|").split("|"))
        for family in (one.partition(" ")[0] for one in devices.split(", ")):
            good = {model for row in matrix().rows if row.status is Status.WORKS and family in row.devices for model in row.models}
            assert {one for cell in said for one in cell.split(", ")} - {"-"} == good
    assert short() in COMPATIBILITY.read_text()
