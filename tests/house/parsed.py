"""Sources, parsed once: several tests of the house read all of them."""

from __future__ import annotations

import ast
from functools import lru_cache

_SOURCES = 2048


@lru_cache(maxsize=_SOURCES)
def parsed(text: str) -> ast.Module:
    """The syntax tree of a source; nobody may change it."""
    return ast.parse(text)


@lru_cache(maxsize=_SOURCES)
def imports(text: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of a source, also those inside functions and conditions."""
    return tuple(node for node in ast.walk(parsed(text)) if isinstance(node, ast.Import | ast.ImportFrom))
