"""The requests between two scrapes, from vLLM's metrics."""

import pytest
from failover_model_server.adapter.scrape import MOST_ANSWERS, Totals, between, parse
from hypothesis import given
from hypothesis import strategies as st

from tests.support.vllm import Vllm


def test_answers_are_counted_and_departures_are_not() -> None:
    """Stop and length are answers; abort is a client that left."""
    engine = Vllm()
    for reason in ("stop", "length", "abort"):
        engine.finish(0.4, reason)
    totals = parse(engine.metrics())
    assert (totals.answered, totals.running, totals.waiting) == (2, 3, 2)


def test_replicas_of_one_engine_are_added_up() -> None:
    """With data parallelism every replica has its own label."""
    engine = Vllm()
    engine.success.labels("1", engine.model, "stop").inc(5)
    engine.finish(0.4)
    assert parse(engine.metrics()).answered == 6


def test_other_metrics_are_refused() -> None:
    """Of another server, or of a version with other names: said, not counted as nothing."""
    with pytest.raises(ValueError, match=r"no vllm:request_success_total"):
        parse("# TYPE up gauge\nup 1\n")


@pytest.mark.parametrize("line", ['{engine="0",\t="x"} 2', "{", '{a="b} 1', " two", '{a=""b"} 1'])
def test_a_line_that_the_parser_cannot_read_is_refused(line: str) -> None:
    """The parser raises several kinds of errors, of which the watch of the engine expects one; any other would end it."""
    with pytest.raises(ValueError):  # the words of most are the parser's
        parse(f"vllm:num_requests_running{line}\n")


@pytest.mark.parametrize("number", ["NaN", "+Inf", "-1", "1e300", "9" * 400])
@pytest.mark.parametrize("name", ["vllm:request_success_total", "vllm:e2e_request_latency_seconds_bucket", "vllm:num_requests_running"])
def test_a_number_that_is_no_count_is_refused(name: str, number: str) -> None:
    """The difference to the next scrape would end the watch of the engine: every later probe would see the state of that moment."""
    engine = Vllm()
    engine.finish(0.4)
    lines = [f"{line.rpartition(' ')[0]} {number}" if line.startswith(f"{name}{{") else line for line in engine.metrics().splitlines()]
    with pytest.raises(ValueError, match="no count"):
        parse("\n".join([*lines, ""]))


def test_the_latencies_between_two_scrapes_are_bounded() -> None:
    """Without a bound the counter of an engine that nobody scraped for days, or a wrong one, would fill the memory."""
    assert len(between(Totals(), Totals(answered=2.0**53, buckets={float("inf"): 2.0**53}))) == MOST_ANSWERS


@given(st.lists(st.floats(0.001, 7000), max_size=30), st.lists(st.floats(0.001, 7000), max_size=30))
def test_each_request_gives_a_latency_within_its_bucket(earlier: list[float], later: list[float]) -> None:
    """As many latencies as answers, and sorted side by side each is in the bucket of the real one."""
    from tests.support.vllm import BUCKETS

    engine = Vllm()
    for seconds in earlier:
        engine.finish(seconds)
    before = parse(engine.metrics())
    for seconds in later:
        engine.finish(seconds)
    found = between(before, parse(engine.metrics()))
    assert len(found) == len(later)
    for real, estimated in zip(sorted(later), sorted(found), strict=True):
        upper = next(bound for bound in BUCKETS if real <= bound)
        lower = max((bound for bound in BUCKETS if bound < upper), default=0.0)
        assert lower <= estimated <= upper


def test_a_restarted_engine_counts_from_zero() -> None:
    """Its totals fall; what it shows is what has happened since."""
    engine = Vllm()
    for _ in range(5):
        engine.finish(0.4)
    before = parse(engine.metrics())
    engine.restart()
    engine.finish(0.4)
    assert len(between(before, parse(engine.metrics()))) == 1


def test_without_a_histogram_requests_still_count() -> None:
    """The number is what scaling needs."""
    assert between(Totals(), Totals(answered=2)) == [0.0, 0.0]
