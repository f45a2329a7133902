"""Code, docs and command line use the words of docs/glossary.md, and none of those that are gone."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.words import GLOSSARY, Gone, Kept, area, find, gone, hits, kept

WORDS = [
    Gone("told", "notified", names_only=False),
    Gone("outside", "external", names_only=True),
    Gone("launch failure", "refusal", names_only=False),
    Gone("double", "fake", names_only=False),
    Gone("so many", "the number", names_only=False),
]
STAYS = [Kept("pauses double", (), "a verb"), Kept('"double"', ("tests/*",), "a stored key")]

LEFT: Counter[str] = Counter(
    {
        ".ci": 1,
        "CHANGELOG.md": 30,
        "Makefile": 3,
        "SECURITY.md": 1,
        "benchmarks": 129,
        "config": 7,
        "controller": 13,
        "controller/adoption": 18,
        "controller/breaking_point": 15,
        "controller/catalog": 28,
        "controller/cli": 95,
        "controller/clients": 4,
        "controller/doctor": 47,
        "controller/notifiers": 11,
        "controller/policy": 265,
        "controller/recording": 1,
        "controller/rendering": 5,
        "controller/service": 92,
        "controller/signals": 85,
        "deploy/chart": 1,
        "deploy/images": 1,
        "docs": 96,
        "model_server": 1,
        "model_server/src": 63,
        "model_server/tests": 67,
        "proof/failover_analysis": 472,
        "proof/failover_harness": 34,
        "proof/failover_testbed": 128,
        "research": 148,
        "tests": 1,
        "tests/adoption": 10,
        "tests/analysis": 69,
        "tests/breaking_point": 9,
        "tests/catalog": 5,
        "tests/cli": 73,
        "tests/clients": 21,
        "tests/cluster": 45,
        "tests/contract": 5,
        "tests/dataplane": 18,
        "tests/deploy": 4,
        "tests/doctor": 4,
        "tests/harness": 3,
        "tests/notifiers": 24,
        "tests/policy": 300,
        "tests/recording": 7,
        "tests/rendering": 2,
        "tests/research": 20,
        "tests/service": 81,
        "tests/settings": 2,
        "tests/signals": 111,
        "tests/support": 19,
        "tests/testbed": 45,
        "tests/world": 59,
        "tools": 11,
    }
)
"""Hits that may remain, by folder, until it is rewritten; a folder that is not here has none."""


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        pytest.param("a.py", "# People are told.\n", [(1, "told")], id="a comment"),
        pytest.param("a.py", "def f():\n    '''Told\n    of it.'''\n", [(2, "told")], id="a docstring"),
        pytest.param("a.py", "was_told = isTold = 1\n", [(1, "told"), (1, "told")], id="parts of names"),
        pytest.param("a.py", "retold = stolder = 1\n", [], id="inside of another word"),
        pytest.param("a.md", "told once\n\nTOLD twice\n", [(1, "told"), (3, "told")], id="Markdown"),
        pytest.param("a.py", "outside = 1  # outside of the cluster\n", [(1, "outside")], id="a name, not prose"),
        pytest.param("a.py", 'x = "outside"\n', [], id="prose in a string"),
        pytest.param("a.py", "def test_a_path_outside_is_refused(): ...\n", [], id="the name of a test is prose"),
        pytest.param("a.md", "outside, `outside.py` and OutsideWorld\n", [(1, "outside"), (1, "outside")], id="names in Markdown"),
        pytest.param("a.py", "LaunchFailure = launch_failure = 1\n", [(1, "launch failure")] * 2, id="two words in one name"),
        pytest.param("a.py", "# waits for so\n    # many seconds\n", [(1, "so many")], id="over two lines of a comment"),
        pytest.param("a.py", 'x = ("so "\n     "many")\n', [(1, "so many")], id="over two parts of a string"),
        pytest.param("a.md", "so\nmany\n", [(1, "so many")], id="over two lines"),
        pytest.param("a.md", "the pauses\ndouble; a double\n", [(2, "double")], id="an exception is for its phrase"),
        pytest.param("tests/a.py", 'x["double"]\n', [], id="an exception for a file"),
        pytest.param("src/a.py", 'x["double"]\n', [(1, "double")], id="not for another file"),
    ],
)
def test_finds_words_that_are_gone(path: str, text: str, expected: list[tuple[int, str]]) -> None:
    """Each hit is reported with its line, whatever it is a part of."""
    assert [(hit.line, hit.gone.form) for hit in find(path, text, WORDS, STAYS)] == expected


def test_a_hit_says_where_and_what_to_write() -> None:
    """It can be clicked on and acted on."""
    (hit,) = find("docs/a.md", "\nPeople are told.\n", WORDS, STAYS)
    assert str(hit) == "docs/a.md:2: told (write: notified): People are told."


def test_the_tables_can_be_read() -> None:
    """Both have rows; every exception is for a word that is gone, else nobody needs it."""
    page = GLOSSARY.read_text()
    words, stays = gone(page), kept(page)
    assert len(words) > 40
    assert len({word.form for word in words}) == len(words)
    assert [one.phrase for one in stays if not any(word.pattern.search(one.phrase) for word in words)] == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [("| `told` | notified | here |", "neither everywhere nor names"), ("", "no section")],
    ids=["an unknown scope", "no table"],
)
def test_a_table_that_cannot_be_read_is_an_error(row: str, fault: str) -> None:
    """Otherwise a wrong heading would let every word pass."""
    page = f"## Words we no longer use\n\n| a | b | c |\n|---|---|---|\n{row}\n" if row else "# Glossary\n"
    with pytest.raises(ValueError, match=fault):
        gone(page)


def test_the_terms_are_in_alphabetical_order() -> None:
    """One row for each term."""
    terms = [line.split("**")[1].lower() for line in GLOSSARY.read_text().splitlines() if line.startswith("| **")]
    assert terms == sorted(set(terms))


def test_words_that_are_gone_stay_gone() -> None:
    """`python -m tools.words` lists them."""
    found = hits()
    more = Counter(area(hit.path) for hit in found) - LEFT
    assert [str(hit) for hit in found if area(hit.path) in more] == []
