"""The figures of the house count what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import house
from tools.house import Source

SOURCE = Source(
    "p.a",
    '''"""A docstring
of two lines."""

import p.b
from p import c

# A comment.
text = """
two lines"""


def f():
    """One more."""
    from p.c.d import e
    return e
''',
)


def test_statements_count_docstrings_and_code_lines_do_not() -> None:
    """The docstrings are two of the eight statements; a string that is a value is code."""
    assert SOURCE.statements == 8
    assert SOURCE.code_lines == 7


def test_imports_inside_functions_count_and_a_name_of_a_package_is_a_module_of_it() -> None:
    assert SOURCE.imported({"p", "p.b", "p.c", "p.c.d", "p.x"}) == {"p.b", "p.c", "p.c.d"}


def test_what_is_reached_includes_the_packages_around_it() -> None:
    graph: house.Graph = {"p": set(), "p.q": set(), "p.q.a": {"r.b"}, "r": {"r.c"}, "r.b": set(), "r.c": set(), "r.d": {"p"}}
    assert house.reached(graph, "p.q.a") == {"p", "p.q", "p.q.a", "r", "r.b", "r.c"}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [({}, 0), ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, 3), ({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}, 4)],
    ids=["nothing", "the longest way", "all of a circle"],
)
def test_floors_are_the_longest_chain(graph: house.Graph, expected: int) -> None:
    assert house.floors(graph) == expected


def test_settings_are_the_leaves_of_a_schema() -> None:
    """A group, and a list of groups, set nothing themselves."""
    group = {"properties": {"x": {"type": "string"}, "y": {"type": "array", "items": {"type": "string"}}}}
    schema = {"properties": {"one": group, "many": {"type": "array", "items": group}, "flag": {"type": "boolean"}}}
    assert house.set_fields(schema) == [("one", "x"), ("one", "y"), ("many", 0, "x"), ("many", 0, "y"), ("flag",)]


def test_nothing_is_counted_as_zero_because_it_was_not_found() -> None:
    """A class, a table or a folder that moved would look like a success."""
    assert house.sources("controller", Path("nowhere")) == []
    found = [*house.sizes(), *house.surface()]
    assert [figure.name for figure in found if figure.now == 0 and figure.most] == []


def test_the_controller_and_its_commands_reach_nothing_that_sets_up_or_proves() -> None:
    """By imports anywhere in a module, also those inside functions: neither may be needed in the image."""
    files = [file for package, folder in house.HOUSES.items() for file in house.sources(package, folder)]
    graph = house.import_graph(files)
    for start in (house.SERVICE, "controller.cli.run", "controller.cli.main"):
        reached = house.reached(graph, start)
        assert {name.partition(".")[0] for name in reached} == {"controller"}, start


def test_a_figure_that_has_grown_is_named_with_its_bound() -> None:
    figures = [house.Figure("settings", 138, 139, 80), house.Figure("guards", 24, 24), house.Figure("metrics", 43, 42)]
    assert house.grown(figures) == ["settings: 139, at most 138. Remove as much as was added."]
