"""Code, docs and command line use the words of docs/glossary.md, and none of those that are gone."""

from __future__ import annotations

import pytest

from tools.words import GLOSSARY, Gone, Kept, find, gone, hits, kept

WORDS = [
    Gone("told", "notified", names_only=False),
    Gone("outside", "external", names_only=True),
    Gone("launch failure", "refusal", names_only=False),
    Gone("double", "fake", names_only=False),
    Gone("so many", "the number", names_only=False),
]
STAYS = [Kept("pauses double", (), "a verb"), Kept('"double"', ("tests/*",), "a stored key")]


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
    assert [str(hit) for hit in hits()] == []
