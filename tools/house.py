"""Measures how much of the code a reader must hold: ``python -m tools.house``.

Statements are nodes of `ast.stmt`, docstrings included, so that no packing of lines changes them. Code lines are lines without docstrings,
comments and blanks. The column *most* is a ratchet: the gate fails where a figure is higher. A change that lowers a figure lowers it too.
"""

from __future__ import annotations

import ast
import io
import itertools
import logging
import re
import sys
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

from controller.documents import Place, schema_at
from controller.policy.decision import Conclusion
from controller.routing.conclusion import conclude
from controller.settings import Settings
from failover_setup.application import ApplicationFile
from tools import walk
from tools.policy_docs import guard_table

ROOT: Final = Path(__file__).parents[1]
HOUSES: Final = {"controller": ROOT / "controller", "failover_setup": ROOT / "setup" / "failover_setup"}
"""What runs in the cluster, and what sets it up, by package. Before they were apart all of it was in `controller`."""
SERVICE: Final = "controller.service.wiring"
"""The running service imports this module, and everything else through it."""
ANNOTATION: Final = "alb.ingress.kubernetes.io"
ACTION_TEXT: Final = frozenset({"PREFIX", "action_key", "format_action", "parse_action"})
"""Names that give or take the key or the text of the routing annotation: who imports one of them knows the annotation."""

_UNSEEN: Final = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_FORMAT_FIELDS: Final = frozenset({("apiVersion",), ("kind",)})
"""Fields of the application file that name its format and set nothing."""

Graph = Mapping[str, AbstractSet[str]]


@dataclass(frozen=True)
class Source:
    """One Python file.

    Attributes:
        module: Its dotted name; a package's `__init__.py` has the name of the package.
        text: What it holds.
    """

    module: str
    text: str

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its syntax tree."""
        return tuple(ast.walk(ast.parse(self.text)))

    @cached_property
    def statements(self) -> int:
        """Statements, docstrings included."""
        return sum(isinstance(node, ast.stmt) for node in self.nodes)

    @cached_property
    def code_lines(self) -> int:
        """Lines with code: neither blank, nor a comment, nor part of a string that stands alone."""
        strings = {
            (node.lineno, node.col_offset)
            for node in self.nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in _UNSEEN and token.start not in strings:
                lines.update(range(token.start[0], token.end[0] + 1))
        return len(lines)

    def imported(self, modules: AbstractSet[str]) -> set[str]:
        """Which of these modules its imports name, also those inside functions. A name of a package may be a module of it."""
        named: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {alias: f"{node.module}.{alias}" for alias in (one.name for one in node.names)}
                named.update(name if name in modules else node.module for name in full.values())
        return named & modules

    def imported_names(self) -> set[str]:
        """The names that it takes from other modules."""
        return {alias.name for node in self.nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


def sources(package: str, folder: Path) -> list[Source]:
    """All files of a package; none where the folder does not exist.

    Args:
        package: Its dotted name.
        folder: Where it is.
    """
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found.append(Source(".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)]), path.read_text()))
    return found


def import_graph(files: Iterable[Source]) -> Graph:
    """What each module imports of the others."""
    known = {file.module: file for file in files}
    return {name: file.imported(known.keys()) - {name} for name, file in known.items()}


def reached(graph: Graph, start: str) -> set[str]:
    """All modules that importing a module loads, with the packages that contain them."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in graph and name not in found:
            found.add(name)
            waiting += [*graph[name], name.rpartition(".")[0]]
    return found


def floors(graph: Graph) -> int:
    """Modules on the longest chain of imports. Those that import each other in a circle are on it together."""
    below = {name: _below(graph, name) for name in graph}
    whole = {name: frozenset({name} | {other for other in below[name] if name in below[other]}) for name in graph}
    heights: dict[frozenset[str], int] = {}

    def height(circle: frozenset[str]) -> int:
        if circle not in heights:
            carrying = {whole[other] for name in circle for other in graph[name]} - {circle}
            heights[circle] = len(circle) + max(map(height, carrying), default=0)
        return heights[circle]

    return max(map(height, whole.values()), default=0)


def by_rooms(graph: Graph) -> Graph:
    """The graph with each room of the policy, which others know by its face, as one module. Before, there were no rooms."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:3])

    rooms: dict[str, set[str]] = {}
    for name, others in graph.items():
        rooms.setdefault(room(name), set()).update(room(other) for other in others)
    return {name: others - {name} for name, others in rooms.items()}


def _below(graph: Graph, name: str) -> set[str]:
    """All modules that a module imports, over any number of steps."""
    found: set[str] = set()
    waiting = [*graph[name]]
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


def members(files: Iterable[Source], name: str) -> int:
    """Fields or members of the class of that name."""
    classes = [node for file in files for node in file.nodes if isinstance(node, ast.ClassDef) and node.name == name]
    return sum(isinstance(line, ast.Assign | ast.AnnAssign) for found in classes for line in found.body)


def calls(files: Iterable[Source], name: str) -> int:
    """How often a function or class is called by its name."""
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name for file in files for node in file.nodes
    )


def set_fields(schema: Mapping[str, Any], place: Place = ()) -> list[Place]:
    """The places of all values that a schema lets somebody set. Mappings and lists of mappings only hold them."""
    node = schema_at(schema, place)
    if "properties" in node:
        return [field for name in node["properties"] for field in set_fields(schema, (*place, name))]
    if "items" in node and "properties" in schema_at(schema, (*place, 0)):
        return set_fields(schema, (*place, 0))
    return [place]


@dataclass(frozen=True, slots=True)
class Traced:
    """What ran in one call.

    Attributes:
        functions: Functions of `controller`, without comprehensions and lambdas.
        files: Their files.
        moves: How often a call or a return in `controller` was followed by one in another file.
    """

    functions: int
    files: int
    moves: int


def traced(made: Conclusion) -> Traced:
    """Concludes again, from the same values and with empty caches, and counts what runs."""
    for module in [module for name, module in sys.modules.items() if name.startswith("controller.")]:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    events: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _value: Any) -> None:  # noqa: ANN401 - the interpreter's signature
        if event in {"call", "return"} and walk.ours(frame):
            events.append((frame.f_code.co_filename, frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        conclude(made.before, made.snapshot)
    finally:
        sys.setprofile(before)
    files = [file for file, _ in events]
    return Traced(len(set(events)), len(set(files)), sum(a != b for a, b in itertools.pairwise(files)))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        name: What is counted.
        most: The value that it may not exceed: that of the commit which lowered it last.
        now: Its value.
        goal: The highest value wanted; None: no goal was set.
    """

    name: str
    most: int
    now: int
    goal: int | None = None


def sizes() -> list[Figure]:
    """What can be read off the files."""
    houses = {package: sources(package, folder) for package, folder in HOUSES.items()}
    controller, everything = houses["controller"], [file for files in houses.values() for file in files]
    policy = [file for file in controller if f"{file.module}.".startswith("controller.policy.")]
    graph = import_graph(everything)
    runs = reached(graph, SERVICE)
    return [
        Figure("both houses: statements", 28_854, sum(file.statements for file in everything), 21_000),
        Figure("both houses: code lines", 32_102, sum(file.code_lines for file in everything)),
        Figure("both houses: files", 365, len(everything)),
        Figure("controller: statements", 21_693, sum(file.statements for file in controller)),
        Figure("controller: code lines", 23_875, sum(file.code_lines for file in controller)),
        Figure("controller: files", 262, len(controller)),
        Figure("failover_setup: statements", 7_161, sum(file.statements for file in houses["failover_setup"])),
        Figure("failover_setup: files", 103, len(houses["failover_setup"])),
        Figure("the running service: statements", 19_658, sum(file.statements for file in everything if file.module in runs), 15_500),
        Figure("the running service: files", 227, len(runs)),
        Figure("policy: statements", 5_602, sum(file.statements for file in policy), 4_400),
        Figure("policy: code lines", 6_280, sum(file.code_lines for file in policy)),
        Figure("policy: files", 81, len(policy)),
        Figure("policy: floors of rooms", 9, floors(by_rooms(import_graph(policy))), 10),
        Figure("policy: floors of modules", 32, floors(import_graph(policy))),
        Figure("fields of Memory", 20, members(policy, "Memory"), 20),
        Figure("reasons", 47, members(policy, "Reason")),
        Figure("places that make alerts", 1, calls(everything, "Alert")),
        Figure("files that say Ingress", 25, sum(map(says_ingress, everything)), 30),
        Figure("files that know the annotation", 4, sum(map(knows_the_annotation, everything)), 4),
    ]


def says_ingress(file: Source) -> bool:
    """Whether a file names the kind of the routing object, in code or in words."""
    return "ingress" in file.text or "Ingress" in file.text


def knows_the_annotation(file: Source) -> bool:
    """Whether a file knows the annotation that holds the routing action of an Ingress, or its text."""
    return ANNOTATION in file.text or not ACTION_TEXT.isdisjoint(file.imported_names())


def surface() -> list[Figure]:
    """What a person may have to know."""
    application = set(set_fields(ApplicationFile.model_json_schema())) - _FORMAT_FIELDS
    settings = set_fields(Settings.model_json_schema())
    guards = guard_table().partition("| guard |")[2].splitlines()[2:]
    metrics = re.findall(r"^\| `failoverctl_", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    return [
        Figure("settings, with the application file's", 138, len(application) + len(settings), 130),
        Figure("settings of the policy", 19, sum(place[:2] == ("spec", "policy") for place in application), 20),
        Figure("guards", 24, len(guards)),
        Figure("metrics", 43, len(metrics)),
    ]


def paths() -> list[Figure]:
    """What runs for one refusal, and in the `conclude` that fails over because of it."""
    walked = walk.walk()
    concluded = traced(walked.conclusion)
    return [
        Figure("functions between the watch and the patch", 46, len(walked.steps)),
        Figure("one failover's conclude: functions", 284, concluded.functions, 150),
        Figure("one failover's conclude: files", 52, concluded.files),
        Figure("one failover's conclude: moves between files", 444, concluded.moves, 150),
    ]


def grown(figures: Sequence[Figure]) -> list[str]:
    """A sentence for each figure that is higher than it may be."""
    return [f"{one.name}: {one.now:,}, at most {one.most:,}. Remove as much as was added." for one in figures if one.now > one.most]


def main() -> int:
    """Prints the figures; 1 where one has grown."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures = [*sizes(), *surface(), *paths()]
    print(f"{'':48}{'most':>8}{'now':>8}{'goal':>8}")
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.goal:,}"
        print(f"{figure.name:48}{figure.most:8,}{figure.now:8,}{goal:>8}")
    print("\n".join(grown(figures)), end="")
    return int(bool(grown(figures)))


if __name__ == "__main__":
    sys.exit(main())
