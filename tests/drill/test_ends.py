"""Whatever ends a drill, and wherever: nothing of it is left in AWS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from controller.clients.aws import AwsClients
from controller.errors import ConfigError, FailoverError, Unavailable
from controller.policy.model import Memory, Mode
from failover_setup.drill.experiments import Experiments, Left
from failover_setup.drill.run import require_quiet
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.demo.play import environment_variables
from tests.drill.drills import KEY, plan
from tests.drill.killed import BEGUN, CALLS, ENDING, FACTOR, POINTS, Trap, drilled
from tools.permissions import ROOT

COST = Memory(mode=Mode.COST)
ALARM = "arn:aws:cloudwatch:us-west-2:123456789012:alarm:errors"


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    """An account with FIS."""
    with EmulatedAws(AcceleratedClock(FACTOR)) as started, environment_variables(started.environment()):
        yield started


@pytest.fixture
def fis(aws: EmulatedAws) -> Experiments:
    """What a later command sees of it."""
    return Experiments(AwsClients(), AcceleratedClock(FACTOR))


def lost() -> None:
    """The connection, for one call."""
    raise Unavailable("fis: no answer")


def by(number: signal.Signals) -> Callable[[], None]:
    """What sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def ended(point: int, what: Callable[[], None]) -> type[BaseException] | None:
    """Runs a drill to which something happens at a point; returns how it ended."""
    try:
        outcome = drilled(Trap(point, what))
    except (KeyboardInterrupt, FailoverError) as error:
        assert point < BEGUN
        return type(error)
    assert outcome.ended_at is not None
    return None if outcome.cut is None else type(outcome.cut)


def test_an_undisturbed_drill_makes_the_calls_at_which_others_end(fis: Experiments, aws: EmulatedAws) -> None:
    undisturbed = Trap(None, lost)
    outcome = drilled(undisturbed)
    assert [name for name, before in CALLS if undisturbed.made[name] <= before] == []
    assert outcome.state == "completed"
    assert fis.left(KEY) == Left()


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_left_after_ctrl_c(fis: Experiments, aws: EmulatedAws, point: int) -> None:
    """It interrupts a drill that is under way, and never its end."""
    how = ended(point, by(signal.SIGINT))
    assert how is (KeyboardInterrupt if point < ENDING else None)
    assert (fis.left(KEY), aws.fis.zones()) == (Left(), ())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_requests_to_end_are_the_same(fis: Experiments, aws: EmulatedAws, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert ended(3, by(number)) is KeyboardInterrupt
    assert (fis.left(KEY), aws.fis.zones()) == (Left(), ())
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_left_after_a_lost_connection(fis: Experiments, aws: EmulatedAws, point: int) -> None:
    """FIS answers again after the one call that it did not answer, or whose answer was lost."""
    how = ended(point, lost)
    assert how is (Unavailable if point < ENDING else None)
    assert (fis.left(KEY), aws.fis.zones()) == (Left(), ())


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_fis_ends_the_shortage_and_a_later_command_the_rest(fis: Experiments, aws: EmulatedAws, point: int) -> None:
    words = [sys.executable, "-m", "tests.drill.killed", str(point)]
    paths = {"PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in (".", "proof", "setup"))}
    done = subprocess.run(words, cwd=ROOT, env=os.environ | paths, timeout=50, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    AcceleratedClock(FACTOR).wait(threading.Event(), 60)
    assert aws.fis.zones() == ()
    if (left := fis.left(KEY)) != Left():
        with pytest.raises(ConfigError, match=f"an earlier drill has left {left}; end it with failoverctl drill --check-left --yes"):
            require_quiet(plan(), COST, fis)
    assert fis.end(KEY) == Left()
    require_quiet(plan(), COST, fis)


def test_a_stop_alarm_ends_the_shortage_at_once_and_the_drill_goes_on_to_its_end(fis: Experiments, aws: EmulatedAws) -> None:
    outcome = drilled(Trap(BEGUN, lambda: aws.fis.fire(ALARM)), duration_s=3600, stop_alarms=(ALARM,))
    assert (outcome.state, outcome.cut) == ("stopped", None)
    assert (fis.left(KEY), aws.fis.zones()) == (Left(), ())


def test_an_alarm_that_is_no_stop_condition_ends_nothing(fis: Experiments, aws: EmulatedAws) -> None:
    outcome = drilled(Trap(BEGUN, lambda: aws.fis.fire(ALARM)))
    assert outcome.state == "completed"


def test_only_what_an_application_s_drills_have_left_is_ended(fis: Experiments, aws: EmulatedAws) -> None:
    Experiments(AwsClients(), AcceleratedClock(FACTOR)).begin(plan(application="default/other", duration_s=3600))
    assert fis.end(KEY) == Left()
    assert len(fis.going()) == 1
    with pytest.raises(ConfigError, match="another experiment that goes on: experiment EXP1"):
        require_quiet(plan(), COST, fis)


def test_a_drill_does_not_begin_over_what_an_earlier_one_has_left(fis: Experiments, aws: EmulatedAws) -> None:
    fis.begin(plan(duration_s=3600))
    with pytest.raises(ConfigError, match="an earlier drill has left experiment EXP1, template EXT1; end it with"):
        require_quiet(plan(), COST, fis)
    fis.end(KEY)
    require_quiet(plan(), COST, fis)


@pytest.mark.parametrize(("mode", "found"), [(Mode.CAPACITY, "capacity mode"), (None, "no mode yet")])
def test_a_drill_begins_in_cost_mode_alone(fis: Experiments, mode: Mode | None, found: str) -> None:
    with pytest.raises(ConfigError, match=f"found default/sd21 in {found}"):
        require_quiet(plan(), Memory(mode=mode), fis)
