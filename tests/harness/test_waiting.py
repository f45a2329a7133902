"""What a wait does with an object that does not exist yet, and with one that never comes."""

from __future__ import annotations

import pytest

from controller.errors import NotFound, Unavailable
from failover_harness.waiting import wait_for


def test_an_object_that_does_not_exist_yet_is_waited_for() -> None:
    """The first read comes before another process has made the object."""
    reads: list[int] = []

    def there() -> bool:
        reads.append(1)
        if len(reads) < 3:
            raise NotFound("configmaps memory")
        return True

    wait_for("the memory", there, deadline_s=5)
    assert len(reads) == 3


def test_an_object_that_never_comes_is_named() -> None:
    """The message says what was waited for, and its cause which object is missing."""

    def absent() -> bool:
        raise NotFound("configmaps memory")

    with pytest.raises(AssertionError, match=r"^not within 0 s: the memory\nnothing runs$") as failed:
        wait_for("the memory", absent, deadline_s=0.05, state=lambda: "nothing runs")
    assert isinstance(failed.value.__cause__, NotFound)


def test_any_other_error_ends_the_wait() -> None:
    """A server that does not answer is not an object that is missing."""

    def unreachable() -> bool:
        raise Unavailable("connection refused")

    with pytest.raises(Unavailable):
        wait_for("the memory", unreachable, deadline_s=5)
