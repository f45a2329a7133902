"""Few kernels of oneDNN are kept, unless a person has chosen."""

import os

import pytest
from failover_model_server.kernel_cache import KEPT, VARIABLES, limit_kernels


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other variable gets its value."""
    first, second = VARIABLES
    monkeypatch.setenv(first, "100")
    monkeypatch.setenv(second, "")  # so that what is set below is taken back
    monkeypatch.delenv(second)
    limit_kernels()
    assert (os.environ[first], os.environ[second]) == ("100", KEPT)
