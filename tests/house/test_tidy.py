"""Style that no linter knows, enforced as tests."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from controller.policy.reasons import Reason
from controller.service.telemetry import Telemetry
from tests.house.parsed import parsed

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = sorted(
    path for name in ("controller", "setup", "proof", "benchmarks", "research", "tools") for path in (ROOT / name).rglob("*.py")
)
LONGEST_FUNCTION = 70
_DOCUMENT = re.compile(r'(?<![\w/.{*"-])(?:docs/)?[a-z][\w/-]*\.md\b')

# Wall-clock time and sleep belong to the Clock port: what reads them elsewhere cannot be simulated.
# Real servers and benchmarks run in real time.
TIMELESS = [
    path
    for path in PYTHON
    if any(path.is_relative_to(ROOT / name) for name in ("controller", "setup", "proof/failover_testbed", "proof/failover_analysis"))
]
CLOCK_CALLS = re.compile(r"\b(?:time\.(?:time|monotonic|sleep|perf_counter)|datetime\.(?:now|utcnow|today)|date\.today)\(")
OWN_TIME = {"controller/clock.py", "controller/clients/deadline.py"}  # a deadline is one of the machine's own sockets

# What is at the root of the repository; anything else needs a folder of its own, or an entry here.
ROOT_FILES = {
    ".dockerignore",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "uv.lock",
}
ROOT_FOLDERS = {
    ".ci",
    ".github",
    "benchmarks",
    "config",
    "controller",
    "deploy",
    "docs",
    "model_server",
    "proof",
    "research",
    "setup",
    "tests",
    "tools",
}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_functions_can_be_seen_whole() -> None:
    """No function is longer than a screen."""
    assert PYTHON
    long = [
        f"{_id(path)}: {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in PYTHON
        for node in ast.walk(parsed(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_time_comes_from_the_clock_port_only() -> None:
    """Nothing but the clock reads the machine's time."""
    assert TIMELESS
    read = [f"{_id(path)}: {call}" for path in TIMELESS if _id(path) not in OWN_TIME for call in CLOCK_CALLS.findall(path.read_text())]
    assert read == []


def test_nothing_strays_at_the_root() -> None:
    """Every file and folder at the root, but those that git ignores, is one that the project expects there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git repository")
    paths = done.stdout.splitlines()
    assert {path for path in paths if "/" not in path} == ROOT_FILES
    assert {path.split("/", 1)[0] for path in paths if "/" in path} == ROOT_FOLDERS


def test_every_metric_is_documented() -> None:
    """`docs/metrics.md` names every metric, and none that does not exist."""
    telemetry = Telemetry(kept=lambda: {"pods": 1})
    exposed = set()
    for family in telemetry.registry.collect():
        exposed.add(f"{family.name}_total" if family.type == "counter" else family.name)
    documented = set(re.findall(r"^\| `(failoverctl_[a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert documented == exposed


def test_every_reason_is_documented() -> None:
    """`docs/reasons.md` names every reason."""
    text = (ROOT / "docs" / "reasons.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link of the README and docs points at a file that exists."""
    links = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    broken = [f"{_id(page)}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert broken == []


def test_links_to_headings_lead_somewhere() -> None:
    """Every `page.md#heading` of the README and docs names a heading of that page, as GitHub makes anchors of them."""
    links = [(page, *found) for page in PAGES for found in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text())]
    broken = [
        f"{_id(page)}: {target}#{anchor}"
        for page, target, anchor in links
        if anchor not in _anchors((page.parent / target) if target else page)
    ]
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)).strip().lower().replace(" ", "-") for one in headings}


def test_every_document_can_be_reached() -> None:
    """A page that no other page links to is found by nobody."""
    linked = {(page.parent / target).resolve() for page in PAGES for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())}
    assert [_id(page) for page in PAGES if page.is_relative_to(ROOT / "docs") and page.resolve() not in linked] == []


def test_tests_that_documents_name_exist() -> None:
    """A document that points at a test as its proof must not outlive it."""
    named = {(page.name, name) for page in PAGES for name in re.findall(r"`(test_[a-z0-9_]+)`", page.read_text())}
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [one for one in sorted(named) if f"def {one[1]}(" not in sources] == []


def test_the_changelog_has_an_unreleased_section() -> None:
    """Changes for users have a place to be written down."""
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_documents_that_code_names_can_be_opened() -> None:
    """A comment that gives its source as a page must give one that a newcomer has: ``docs/…`` from the root, or a page at the root."""
    folders = ("controller", "setup", "proof", "research", "benchmarks", "tools", "tests", "config", "deploy")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.suffix in {".py", ".yaml", ".toml"}]
    named = {(_id(path), name) for path in sources if path.parent != Path(__file__).parent for name in _DOCUMENT.findall(path.read_text())}
    assert sorted(one for one in named if not (ROOT / one[1]).is_file() and not (ROOT / "docs" / one[1]).is_file()) == []
