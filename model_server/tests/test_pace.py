"""Expected times of batches: learned from few, right for work that has not been seen, quick to forget what compiled."""

import pytest
from failover_model_server.serving.pace import FORGETTING, Pace
from hypothesis import given
from hypothesis import strategies as st


def test_before_any_batch_nothing_is_expected() -> None:
    """0, so that nothing is refused on no evidence."""
    assert Pace().expects(4, 10.0) == Pace().promises(4, 10.0) == 0.0


@given(base=st.floats(0.0, 10.0), slope=st.floats(0.001, 1.0), wanted=st.floats(1.0, 200.0))
def test_a_fixed_time_and_one_in_proportion_to_the_work_are_separated(base: float, slope: float, wanted: float) -> None:
    """Batches of two lengths give the time of any other."""
    pace = Pace()
    for work in (10.0, 50.0, 20.0, 40.0):
        pace.ran(2, work, base + slope * work)
    assert pace.expects(2, wanted) == pytest.approx(base + slope * wanted, rel=1e-3, abs=1e-6)


def test_one_length_gives_others_in_proportion() -> None:
    """Without a second length there is no fixed time to separate."""
    pace = Pace()
    for _ in range(3):
        pace.ran(1, 2.0, 0.5)
    assert pace.expects(1, 100.0) == pytest.approx(25.0)


def test_a_size_that_has_not_run_borrows_from_its_neighbours() -> None:
    """The next larger one as it is, which is not too short; beyond the largest, in proportion."""
    pace = Pace()
    pace.ran(2, 1.0, 2.0)
    pace.ran(4, 1.0, 3.0)
    assert [pace.expects(size, 1.0) for size in (1, 3, 8)] == pytest.approx([2.0, 3.0, 6.0])


def test_a_warm_up_that_compiled_is_forgotten() -> None:
    """Two minutes of compiling say nothing of the batches after them."""
    pace = Pace()
    for work in (32.0, 128.0):
        pace.ran(1, work, 120.0)
    pace.ran(1, 32.0, 0.1)
    assert pace.expects(1, 32.0) == pytest.approx(0.1)


def test_a_promise_has_a_margin_where_times_vary() -> None:
    """Equal times are promised as they are; times that differ, with room."""
    steady, varied = Pace(), Pace()
    for seconds in (1.0, 1.4, 0.8, 1.2, 0.9, 1.3):
        steady.ran(1, 1.0, 1.0)
        varied.ran(1, 1.0, seconds)
    assert steady.promises(1, 1.0) == steady.expects(1, 1.0)
    assert varied.promises(1, 1.0) > varied.expects(1, 1.0) + 0.1


def test_a_slower_device_is_noticed() -> None:
    """After some batches the new time counts, not the mean of a day."""
    pace = Pace()
    for _ in range(1000):
        pace.ran(1, 1.0, 1.0)
    for _ in range(30):
        pace.ran(1, 1.0, 3.0)
    assert pace.expects(1, 1.0) == pytest.approx(3.0, abs=2 * FORGETTING**30 + 0.01)
