"""Pipelines on tiny models: made once a process, in a directory that is removed afterwards."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run in as many processes as there are processors: with as many threads each they would mostly wait for each other, busily.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a tiny model by its name in `models.MAKERS`. Read only: a test that changes it copies it."""
    from tests.pipelines.models import MAKERS

    root = tmp_path_factory.mktemp("models")

    def get(name: str) -> Path:
        if not (root / name).exists():
            MAKERS[name](root / name)
        return root / name

    return get
