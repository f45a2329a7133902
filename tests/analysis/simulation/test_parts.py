"""The parts of the world, each by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import ConfigError
from failover_analysis.simulation.event_queue import AT_ONCE, MOST, EventQueue
from failover_analysis.simulation.outages import Outage, drawn, family, traced
from failover_analysis.simulation.outages import Trace as OutageTrace
from failover_analysis.simulation.queueing import FULL, answered, service_s
from failover_testbed.capacity.ec2 import Shortage
from failover_testbed.traffic.demand import Trace
from tests.support.applications import seed_units

INF2 = Shortage(("inf2.xlarge",))
DATA = Path(__file__).parents[4] / "shared" / "data"


class TestEventQueue:
    """Virtual time."""

    def test_what_is_done_again_without_a_pause_is_an_error(self) -> None:
        """Virtual time would stand still, and the run would never end."""
        event_queue = EventQueue(100.0)
        event_queue.every(0.0, lambda: None)
        with pytest.raises(RuntimeError, match="without end"):
            event_queue.run(101.0)
        busy = EventQueue(0.0)
        for _ in range(AT_ONCE):
            busy.at(1.0, lambda: None)
        busy.run(2.0)

    def test_does_what_is_due_in_the_order_of_time_and_then_of_its_making(self) -> None:
        """Ties have an order, or a run could not be repeated."""
        event_queue, done = EventQueue(100.0), list[str]()
        event_queue.at(105.0, lambda: done.append("b"))
        event_queue.at(102.0, lambda: done.append("a"))
        event_queue.at(105.0, lambda: done.append("c"))
        event_queue.run(105.0)
        assert done == ["a", "b", "c"]
        assert event_queue.now == 105.0

    def test_what_lies_in_the_past_is_done_now(self) -> None:
        """Time does not go backwards."""
        event_queue, seen = EventQueue(100.0), list[float]()
        event_queue.at(50.0, lambda: seen.append(event_queue.now))
        event_queue.run(110.0)
        assert seen == [100.0]

    def test_a_repeated_event_goes_on(self) -> None:
        """Polls and ticks."""
        event_queue, seen = EventQueue(0.0), list[float]()
        event_queue.every(10.0, lambda: seen.append(event_queue.now), first=5.0)
        event_queue.run(30.0)
        assert seen == [5.0, 15.0, 25.0]

    def test_events_that_multiply_are_stopped(self) -> None:
        """Every queue has a bound."""
        event_queue = EventQueue(0.0)
        for _ in range(MOST):
            event_queue.at(1.0, lambda: None)
        with pytest.raises(RuntimeError, match="without end"):
            event_queue.at(1.0, lambda: None)


class TestQueueing:
    """Latency by load."""

    @pytest.mark.parametrize("unit", seed_units(), ids=lambda unit: unit.name)
    def test_meets_the_published_breaking_point(self, unit: object) -> None:
        """Table 2: at its throughput a unit has its latency."""
        assert hasattr(unit, "throughput")
        served, latency = answered(unit.throughput, unit.throughput, unit.latency_s, 60)  # type: ignore[attr-defined]
        assert served == unit.throughput
        assert latency == pytest.approx(unit.latency_s)  # type: ignore[attr-defined]

    def test_agrees_with_what_the_sample_measured_below_it(self) -> None:
        """The AWS sample's wave shows inf2 at 0.5 s, kept at about three quarters of its throughput."""
        assert answered(0.75 * 105, 105, 0.67, 60)[1] == pytest.approx(0.5, abs=0.03)

    @given(st.floats(0, 5000), st.floats(0, 5000))
    def test_more_load_is_never_faster_and_never_more_than_it_can(self, one: float, other: float) -> None:
        """Latency grows with the load, and what is beyond the limit is shed."""
        low, high = sorted((one, other))
        (served_low, latency_low), (served_high, latency_high) = answered(low, 105, 0.67, 60), answered(high, 105, 0.67, 60)
        assert served_low <= served_high <= FULL * 60 / service_s(105, 0.67, 60) + 1e-9
        assert latency_low <= latency_high
        assert served_low <= low


class TestOutages:
    """When EC2 has no room."""

    def test_the_same_seed_gives_the_same_outages(self) -> None:
        """And another one gives others."""
        arguments = (["inf2.xlarge"], ("a", "b", "c"), 30 * 86_400.0, 12.0)
        assert drawn(*arguments, "7") == drawn(*arguments, "7") != drawn(*arguments, "8")

    def test_are_as_long_and_as_often_as_evaluated(self) -> None:
        """docs/research/evaluation.md: half an hour in the median, a fifth to two fifths a quarter of an hour or less."""
        found = drawn(["inf2.xlarge"], ("a", "b", "c"), 2000 * 86_400.0, 12.0, "1")
        lengths = sorted(one.end_s - one.start_s for one in found)
        assert 23 * 60 <= lengths[len(lengths) // 2] <= 42 * 60
        assert 0.20 <= sum(one <= 15 * 60 for one in lengths) / len(lengths) <= 0.38
        own = [one for one in found if one.shortage.zones == ("a",)]
        together = [one for one in found if not one.shortage.zones]
        assert 0.58 <= len(own) / (len(own) + len(together)) <= 0.79

    def test_a_trace_is_out_where_nothing_was_held(self, tmp_path: Path) -> None:
        """Counts over time, in the unit that the trace has."""
        path = tmp_path / "trace.csv"
        path.write_text("hours,count\n0,0\n0.5,3\n2,0\n3,1\n")
        found = traced(OutageTrace(path, INF2, 3600.0))
        assert [(one.start_s, one.end_s) for one in found] == [(0.0, 1800.0), (7200.0, 10_800.0)]

    def test_a_trace_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        """With its name."""
        with pytest.raises(ConfigError, match=r"none\.csv"):
            traced(OutageTrace(tmp_path / "none.csv", INF2, 1.0))
        (tmp_path / "some.csv").write_text("time,count\n0,1\n")
        with pytest.raises(ConfigError, match=r"some\.csv"):
            traced(OutageTrace(tmp_path / "some.csv", INF2, 1.0, column="another"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param("time,count\n2026-01-01T00:00:00Z,0\n2026-01-01T01:00:00Z,1\n", ':2: time: found "2026', id="times of a calendar"),
            pytest.param("time,count\n0,1\n300,\n600,1\n", ':3: count: found ""', id="a gap"),
            pytest.param("time,count\n0,1\n300,n/a\n600,1\n", ':3: count: found "n/a"', id="no number"),
            pytest.param("time,count\n0,1\nnan,0\n600,1\n", ':3: time: found "nan"', id="no time"),
            pytest.param("time,count\n0,1\n300,-1\n600,1\n", ':3: count: found "-1"', id="less than nothing"),
            pytest.param("time,count\n0,1\n600,0\n300,1\n", ":4: found a time before", id="not in order"),
            pytest.param("time,count\n0,1\n300\n", ":3: count: found 1 column", id="a column is missing"),
            pytest.param("0,0\n", "found 1 line(s)", id="one line"),
            pytest.param("", "found 0 line(s)", id="nothing"),
            pytest.param("time;count\n0;1\n300;0\n", ':2: time: found "0;1"', id="semicolons"),
            pytest.param("a" * 200_000, "no CSV file", id="a giant cell"),
        ],
    )
    def test_a_trace_with_a_line_that_is_none_is_refused(self, tmp_path: Path, text: str, said: str) -> None:
        """Left out unnoticed, its times would mean other ones, or no outage at all."""
        path = tmp_path / "trace.csv"
        path.write_text(text)
        with pytest.raises(ConfigError) as refused:
            traced(OutageTrace(path, INF2, 1.0))
        assert said in str(refused.value)

    def test_a_trace_of_a_spreadsheet_is_read(self, tmp_path: Path) -> None:
        """With a byte order mark, carriage returns and an empty line at its end."""
        path = tmp_path / "trace.csv"
        path.write_bytes(b"\xef\xbb\xbftime,count\r\n0,0\r\n300,1\r\n\r\n")
        assert [(one.start_s, one.end_s) for one in traced(OutageTrace(path, INF2, 1.0, column="count"))] == [(0.0, 300.0)]
        path.write_bytes(b"\xef\xbb\xbf0,0\r\n300,1\r\n")
        assert [(one.start_s, one.end_s) for one in traced(OutageTrace(path, INF2, 1.0))] == [(0.0, 300.0)]

    def test_a_trace_of_nodes_has_room_for_as_many_as_it_counts(self, tmp_path: Path) -> None:
        """Its highest count is as many as anybody asked for, and no limit."""
        path = tmp_path / "trace.csv"
        path.write_text("time,count\n0,16\n300,3\n600,3\n900,0\n1200,16\n")
        found = traced(OutageTrace(path, INF2, 1.0, nodes=True))
        assert [(one.start_s, one.end_s, one.most) for one in found] == [(300.0, 900.0, 3), (900.0, 1200.0, 0)]

    def test_the_sizes_of_one_accelerator_are_out_together(self) -> None:
        """In SkyPilot's traces eight v100 can hardly ever be had when one cannot."""
        types = ("g5.xlarge", "inf2.xlarge", "g5.8xlarge")
        found = drawn(types, ("a", "b"), 30 * 86_400.0, 12.0, "1")
        assert {one.shortage.instance_types for one in found} == {("g5.xlarge", "g5.8xlarge"), ("inf2.xlarge",)}

    @pytest.mark.skipif(not DATA.exists(), reason="the traces live outside the project")
    def test_reads_how_many_nodes_could_be_had(self) -> None:
        """Sixteen days of one zone, for sixteen nodes."""
        found = traced(OutageTrace(DATA / "skypilot_spot_16_nodes_us-west-2a_2023.csv", INF2, 1.0, nodes=True))
        assert {one.most for one in found} == set(range(16)) - {13}  # it never counts 13
        none = sum(one.end_s - one.start_s for one in found if one.most == 0)
        assert 0.5 < none / (16 * 86_400) < 0.6

    @pytest.mark.skipif(not DATA.exists(), reason="the traces live outside the project")
    @pytest.mark.parametrize("zone", ["us-west-2a", "us-west-2b"])
    def test_a_trace_of_several_types_shows_that_outages_go_by_family(self, zone: str) -> None:
        """When one v100 cannot be had, eight mostly cannot either (else in half of the time); one k80 as often as at all times."""
        path, names = DATA / "skypilot_spot_multi_type_2022.csv", ("v100x1", "v100x8", "k80x1")
        single, eight, other = (_out(traced(OutageTrace(path, INF2, 1.0, column=f"{zone}/{name}"))) for name in names)
        assert len(single & eight) / len(single) > 0.75
        assert len(eight) / 3895 < 0.6
        assert len(single & other) / len(single) == pytest.approx(len(other) / 3895, abs=0.03)
        assert family("p3.2xlarge") == family("p3.16xlarge") != family("p2.xlarge")


def _out(found: list[Outage]) -> set[int]:
    """The steps of 600 s in which a type is out."""
    return {step for one in found for step in range(int(one.start_s) // 600, int(one.end_s) // 600)}


class TestTrace:
    """Demand from a file."""

    def test_is_scaled_to_its_peak_and_begins_anew(self, tmp_path: Path) -> None:
        """The last column counts; between two lines it changes evenly."""
        (tmp_path / "demand.csv").write_text("time,requests\na,0\nb,50\nc,100\n")
        at = Trace(file="demand.csv", step_s=10, peak=1000).curve(tmp_path)
        assert [at(second) for second in (0, 5, 10, 20, 30)] == [0, 250, 500, 1000, 0]

    def test_a_trace_of_nothing_is_refused(self, tmp_path: Path) -> None:
        """There would be nothing to scale."""
        (tmp_path / "demand.csv").write_text("time,requests\na,0\n")
        with pytest.raises(ConfigError, match="no count above 0"):
            Trace(file="demand.csv", step_s=10, peak=1000).curve(tmp_path)

    @pytest.mark.parametrize("cell", ["", "n/a", "nan", "inf", "-1", "1_000"])
    def test_a_line_without_a_count_is_refused(self, tmp_path: Path, cell: str) -> None:
        """Left out unnoticed, all demand after it would come too early."""
        (tmp_path / "demand.csv").write_text(f"time,requests\n0,50\n10,{cell}\n20,100\n")
        with pytest.raises(ConfigError, match=r"demand\.csv:3: count: found "):
            Trace(file="demand.csv", step_s=10, peak=1000).curve(tmp_path)

    def test_what_is_no_text_is_refused(self, tmp_path: Path) -> None:
        """A compressed trace, say."""
        (tmp_path / "demand.csv").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
        with pytest.raises(ConfigError, match=r"demand\.csv: no CSV file in UTF-8"):
            Trace(file="demand.csv", step_s=10, peak=1000).curve(tmp_path)

    @pytest.mark.skipif(not DATA.exists(), reason="the traces live outside the project")
    @pytest.mark.parametrize(("name", "step"), [("nab_elb_request_count.csv", 300), ("azure_llm_2023_conv_per_10s.csv", 10)])
    def test_reads_the_traces_that_there_are(self, name: str, step: float) -> None:
        """Fourteen days of a load balancer, an hour of a language model."""
        at = Trace(file=name, step_s=step, peak=2960).curve(DATA)
        values = [at(second) for second in random.Random(1).sample(range(86_400), 50)]
        assert 0 <= min(values) <= max(values) <= 2960
