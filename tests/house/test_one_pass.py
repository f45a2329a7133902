"""The pass is composed once: the service and everything that proves it run the same steps, put together in the same place."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.house.parsed import imports, parsed

ROOT = Path(__file__).parents[2]
FOLDERS = ("controller", "setup", "proof", "research", "benchmarks", "tools")

CONCLUSION, PASS = "controller/policy/decision/conclusion.py", "controller/service/application_pass.py"
STEPS = {
    "controller.policy.decision.conclude": {"controller/routing/conclusion.py"},
    "controller.policy.decision.conclusion.conclude": {"controller/policy/decision/__init__.py", "controller/policy/decision/forecast.py"},
    "controller.policy.decision.decide.decide": {CONCLUSION},
    "controller.policy.plan.plan": {CONCLUSION},
    "controller.policy.memory.applied": {CONCLUSION, PASS},  # the pass itself: for an action whose answer was lost
    "controller.service.in_doubt.InDoubt": {PASS},
    "controller.service.application_pass.ApplicationPass": {
        "controller/service/controller.py",
        "proof/failover_analysis/simulation/replica.py",
    },
}
"""Who may import each step."""

CONSTANTS = ("RETRY_BASE_S", "RETRY_MAX_S", "EFFECT_S")


@cache
def sources() -> dict[str, str]:
    """The text of every module by its path."""
    return {str(path.relative_to(ROOT)): path.read_text() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def users(step: str, texts: dict[str, str]) -> set[str]:
    """The modules that import a step, or the module that defines it as a whole."""
    module, _, name = step.rpartition(".")
    package, _, short = module.rpartition(".")
    wanted = {(module, name), (package, short)}
    found = set()
    for path, text in texts.items():
        for node in imports(text) if name in text or short in text else ():  # to parse every module takes seconds
            whole = isinstance(node, ast.Import) and any(alias.name == module for alias in node.names)
            part = isinstance(node, ast.ImportFrom) and any((node.module, alias.name) in wanted for alias in node.names)
            if whole or part:
                found.add(path)
    return found


def assigned(name: str, texts: dict[str, str]) -> list[str]:
    """The modules that give a constant a value, with or without an underscore before its name."""
    return [
        path
        for path, text in texts.items()
        if name in text
        for node in parsed(text).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.lstrip("_") == name
    ]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_the_pass_is_composed_in_one_place(step: str) -> None:
    """A second composition would drift from the one that runs in production."""
    assert users(step, sources()) == STEPS[step]


@pytest.mark.parametrize("name", CONSTANTS)
def test_each_constant_of_the_pass_is_written_once(name: str) -> None:
    """The simulation waits as long as production does. The emulated servers have waits of their own, those of what they emulate."""
    texts = {path: text for path, text in sources().items() if path.startswith(("controller/", "setup/", "proof/failover_analysis/"))}
    assert len(assigned(name, texts)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "from controller.policy.decision.decide import decide",
        "from controller.policy.decision import decide as core",
        "import controller.policy.decision.decide",
        "def late():\n    from controller.policy.decision.decide import decide",
    ],
)
def test_a_second_composition_is_found_however_it_imports(text: str) -> None:
    """By name, as a module, and inside of a function."""
    assert users(
        "controller.policy.decision.decide.decide", {"a.py": text, "b.py": "from controller.policy.decision.decide import observed_mode"}
    ) == {"a.py"}


def test_a_second_constant_is_found() -> None:
    """With another type, and as a private name."""
    assert assigned("EFFECT_S", {"a.py": "EFFECT_S: Final = 2.5", "b.py": "_EFFECT_S = 2.5", "c.py": "from a import EFFECT_S"}) == [
        "a.py",
        "b.py",
    ]
