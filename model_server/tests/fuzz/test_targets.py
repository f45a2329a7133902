"""Each target on a fixed number of inputs, the same every time; `make fuzz` takes new ones for as long as it is given."""

import pytest

from tests.fuzz.targets import TARGETS
from tools.fuzzing import fuzz

DEEP = b"[" * 100_000
ONCE = [
    ("name of a model", b"~nobody-here/model"),
    ("name of a model", b"~\x00"),
    ("name of a model", b"a" * 300),
    ("manifest of a model", b'{"schema":1,"files":[{"path":"a","size":Infinity,"sha256":"","mtime_ns":1}]}'),
    *((name, DEEP) for name in ("manifest of a model", "model_index.json", "artifact.json")),
    ("config.json of a compiled model", DEEP),
]


@pytest.mark.parametrize(("name", "raw"), ONCE, ids=range(len(ONCE)))
def test_what_once_raised_something_else_is_refused(name: str, raw: bytes) -> None:
    """A start that fails says which file is wrong, instead of a traceback."""
    with pytest.raises(TARGETS[name].allowed):
        TARGETS[name].run(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_accepted(name: str) -> None:
    """Else the inputs would not pass the first check."""
    for raw in TARGETS[name].corpus:
        TARGETS[name].run(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_it_raises_only_what_it_may(name: str) -> None:
    """A few hundred inputs that are nearly right."""
    assert fuzz(TARGETS[name], f"1/{name}", executions=200).errors == {}
