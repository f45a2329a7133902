"""When a takeover is over."""

from __future__ import annotations

from controller.service.takeover import Takeover
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW


def test_it_is_over_with_the_last_first_pass() -> None:
    clock = ManualClock(NOW)
    takeover = Takeover(clock)
    takeover.begin(["shop/a", "shop/b"])
    clock.advance(1)
    assert takeover.passed("shop/a") is None
    assert takeover.passed("shop/a") is None, "its second pass does not count"
    clock.advance(1)
    assert takeover.passed("shop/b") == 2
    assert takeover.passed("shop/b") is None, "it is reported once"


def test_an_application_that_was_removed_is_not_waited_for() -> None:
    clock = ManualClock(NOW)
    takeover = Takeover(clock)
    takeover.begin(["shop/a", "shop/b"])
    takeover.retain(["shop/a", "shop/c"])
    assert takeover.passed("shop/c") is None, "it came later"
    assert takeover.passed("shop/a") == 0


def test_a_lost_lease_ends_it() -> None:
    takeover = Takeover(ManualClock(NOW))
    takeover.begin(["shop/a"])
    takeover.end()
    assert takeover.passed("shop/a") is None
