"""Measured numbers are written into an application file, and nothing else in it changes."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from controller.errors import ConfigError
from failover_setup.application import load_definitions
from failover_setup.breaking_point.edit import Measured, check_writable, edited, write_measured

SEED = Path("config/sd21.yaml")
NOTE = "measured 2026-11-25T10:00:00Z, limited by latency, plateau; limit of the p95 latency 0.9 s, accelerator use 71%"
MEASURED = Measured(118.4, 0.871, NOTE)


def changed(before: str, after: str) -> list[str]:
    """The lines that differ, with their sign."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sd21.yaml"
    path.write_text(SEED.read_text())
    return path


def test_an_application_with_a_route_is_found_by_its_name(file: Path) -> None:
    """As one with an Ingress: by the namespace and the name of its routing object."""
    routed = re.sub(r"ingress: .*\n *action: .*\n", "route: {kind: HTTPRoute, name: front, rule: main}\n", SEED.read_text(), count=1)
    assert f"throughput: {MEASURED.throughput}" in edited(routed, "default/front", "sd21-g5-triton", MEASURED)


def test_only_the_unit_s_numbers_change(file: Path) -> None:
    """Comments, order, blank lines, flow mappings and 1.0060 stay as they are."""
    text = write_measured(file, "default/sd21", "sd21-g5-triton", MEASURED)
    assert changed(SEED.read_text(), text) == [
        "-      throughput: 90",
        "-      latencySeconds: 0.68",
        f"+      throughput: 118.4  # {NOTE}",
        "+      latencySeconds: 0.871",
    ]
    unit = load_definitions(file)["default/sd21"].model.spec.units[2]
    assert (unit.throughput, unit.latency_s) == (118.4, 0.871)


def test_measuring_again_replaces_the_note(file: Path) -> None:
    """Only the newest measurement is noted; the same numbers change nothing."""
    first = write_measured(file, "default/sd21", "sd21-g5-triton", MEASURED)
    assert write_measured(file, "default/sd21", "sd21-g5-triton", MEASURED) == first
    again = write_measured(file, "default/sd21", "sd21-g5-triton", Measured(120.0, 0.8, "measured later"))
    assert re.search(r"throughput: 120 +# measured later\n", again)
    assert again.count("measured") == 1


@pytest.mark.parametrize("unit", ["sd21-inf2", "sd21-g5-cuda"])
def test_comments_beside_the_numbers_stay(file: Path, unit: str) -> None:
    """Of the first unit and of the last."""
    text = write_measured(file, "default/sd21", unit, MEASURED)
    assert [line for line in changed(SEED.read_text(), text) if "#" in line and NOTE not in line] == []
    assert text.count("#") == SEED.read_text().count("#") + 1


def test_other_documents_of_the_file_stay(tmp_path: Path) -> None:
    """A file of several applications."""
    other = SEED.read_text().replace("name: sd21\n", "name: other\n").replace("ingress: sd21\n", "ingress: other\n")
    other = other.replace("-hpa", "-other-hpa")
    path = tmp_path / "two.yaml"
    path.write_text(f"# the first\n{SEED.read_text()}---\n# the second\n{other}")
    before = path.read_text()
    text = write_measured(path, "default/other", "sd21-inf2", MEASURED)
    assert [line for line in changed(before, text) if line.startswith("-")] == ["-      throughput: 105", "-      latencySeconds: 0.67"]
    definitions = load_definitions(path)
    assert definitions["default/sd21"].model.spec.units[0].throughput == 105
    assert definitions["default/other"].model.spec.units[0].throughput == 118.4


def test_a_file_with_other_indentation_keeps_it(tmp_path: Path) -> None:
    """Lists without indentation are as common."""
    text = SEED.read_text()
    head, units = text.split("  units:\n")
    units, policy = units.split("\n  policy:")
    flat = "\n".join(line.removeprefix("  ") for line in units.splitlines())
    path = tmp_path / "flat.yaml"
    path.write_text(f"{head}  units:\n{flat}\n\n  policy:{policy}")
    before = path.read_text()
    assert [line for line in changed(before, write_measured(path, "default/sd21", "sd21-inf2", MEASURED)) if line.startswith("-")] == [
        "-    throughput: 105",
        "-    latencySeconds: 0.67",
    ]


def test_a_unit_that_was_removed_meanwhile_is_not_written() -> None:
    """The file was edited during the measurement."""
    with pytest.raises(ConfigError, match="application default/sd21 no longer has a unit sd21-x; not written"):
        edited(SEED.read_text(), "default/sd21", "sd21-x", MEASURED)


def test_an_invalid_result_is_not_written(file: Path) -> None:
    """A latency above the unit's own limit."""
    with pytest.raises(ConfigError, match="latencyLimitSeconds"):
        write_measured(file, "default/sd21", "sd21-inf2", Measured(100.0, 0.95, NOTE))
    assert file.read_text() == SEED.read_text()


def test_mode_and_symbolic_link_stay(file: Path, tmp_path: Path) -> None:
    """The file behind a link is replaced and keeps its permissions."""
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    check_writable(link, "default/sd21", "sd21-inf2")
    assert file.read_text() == SEED.read_text()
    write_measured(link, "default/sd21", "sd21-inf2", MEASURED)
    assert link.is_symlink()
    assert "118.4" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_anchor_that_others_refer_to_keeps_their_values(tmp_path: Path) -> None:
    """The new number is the unit's own."""
    text = SEED.read_text().replace("throughput: 60\n", "throughput: *same\n").replace("throughput: 61\n", "throughput: &same 61\n")
    path = tmp_path / "anchors.yaml"
    path.write_text(text)
    write_measured(path, "default/sd21", "sd21-g6-triton", MEASURED)
    units = load_definitions(path)["default/sd21"].model.spec.units
    assert [unit.throughput for unit in units] == [105, 130, 90, 118.4, 61]


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """YAML may be UTF-16, which the editor does not support."""
    path = tmp_path / "wide.yaml"
    path.write_bytes(SEED.read_text().encode("utf-16"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        check_writable(path, "default/sd21", "sd21-inf2")
