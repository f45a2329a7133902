"""What EC2 has, and what Karpenter makes of it: each in a world of one outage."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.errors import ConfigError
from controller.policy.decision import Conclusion
from controller.policy.model import Mode, PlannedMode, PolicySettings, Strategy
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.faults import FAULTS
from failover_analysis.simulation.karpenter import Pool
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import FOLDER, find, load, written_out
from failover_analysis.simulation.truth import Truth
from failover_analysis.simulation.variety import at_zero, in_pools, varied, with_spot_alone
from failover_testbed.capacity.ec2 import FleetAnswer, Shortage
from tests.analysis.simulation.support import HOUR, INF2, fault, outage, play, setup
from tests.support.applications import application

ZONES = {"us-west-2a", "us-west-2b", "us-west-2c"}
DATA = Path(__file__).parents[4] / "shared" / "data"
SPOT = {"inf2": ("on-demand", "spot")}


def world(seed: int = 1, **changes: Any) -> Simulation:
    """One run that a test stops where it wants to."""
    return Simulation(setup(**changes), seed)


def until(simulation: Simulation, hours: float) -> Engine:
    """Plays the first hours."""
    engine = simulation.engine
    engine.event_queue.run(engine.setup.start + hours * HOUR)
    return engine


def pool(engine: Engine, name: str = "inf2") -> Pool:
    """A NodePool."""
    return engine.karpenter.pools[name]


def some(left: int, start_h: float = 0.5, end_h: float = 3.0, **changes: Any) -> Outage:
    """Room for a few inf2 nodes in each zone."""
    return Outage(start_h * HOUR, end_h * HOUR, Shortage(("inf2.xlarge",), left=left), **changes)


class Shortages:
    """Notes the units that are refused something, and those that are proven to be short."""

    def __init__(self) -> None:
        self.units: set[str] = set()
        self.refused: set[str] = set()

    def passed(self, _replica: object, conclusion: Conclusion, _acted: object) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.passed`."""
        self.refused |= {name for name, one in conclusion.snapshot.units.items() if one.pool.failures}
        self.units |= {name for name, one in conclusion.decision.evidence.items() if one.short}

    def decided(self, *_: object) -> None:
        """Nothing."""

    def acted(self, *_: object) -> None:
        """Nothing."""


class TestRhythm:
    """The two kinds of answers, and what Karpenter does with each."""

    def test_one_zone_a_call_is_refused_once_a_retry_until_every_zone_is_in_the_cache(self) -> None:
        """Refusals ten seconds apart that name each zone, and `NoCompatibleInstanceTypes` at last: `field_all_zones.jsonl`."""
        engine = until(world(outages=(outage(0.2, 3),), seconds=HOUR), 1.0)
        times = sorted({one.at for one in pool(engine).failures})
        cycle = [at for at in times if at - times[0] < 60]
        assert len(cycle) == 3
        assert all(10 <= later - at <= 15 for at, later in pairwise(cycle))
        named = {one.named_zone for one in pool(engine).failures}
        assert named - {""} == ZONES
        assert all(one.truncated for one in pool(engine).failures if one.named_zone)
        blocked = pool(engine).blocked_at
        assert blocked is not None
        assert blocked > cycle[-1]

    def test_all_zones_a_call_is_refused_once_a_cycle(self) -> None:
        """One refusal, `NoCompatibleInstanceTypes` after the next loop, and three minutes until the next: `all_zones.jsonl`."""
        engine = until(world(outages=(outage(0.2, 3),), seconds=HOUR, fleet=FleetAnswer.ALL_ZONES), 1.0)
        times = sorted({one.at for one in pool(engine).failures})
        assert all(180 <= later - at <= 215 for at, later in pairwise(times))

    @pytest.mark.parametrize("answer", list(FleetAnswer))
    def test_both_lead_to_a_failover_and_back(self, answer: FleetAnswer) -> None:
        """A real shortage is one whatever EC2 answers."""
        result = play(outages=(outage(0.5, 2.0),), seconds=5 * HOUR, fleet=answer)
        assert [one.to for one in result.mode_changes] == [Mode.CAPACITY, Mode.COST]
        assert result.violations == ()

    @pytest.mark.parametrize("seed", range(4))
    def test_a_zone_without_capacity_is_no_shortage(self, seed: int) -> None:
        """A call that meets it is refused, and the next one launches elsewhere: `field_one_zone.jsonl`."""
        simulation, shortages = world(seed, outages=(outage(0.1, 4.0, zones=("us-west-2a", "us-west-2b")),)), Shortages()
        simulation.engine.observers.append(shortages)
        result = simulation.run()
        assert (result.mode_changes, result.violations) == ((), ())
        assert INF2 in shortages.refused
        assert not shortages.units


class TestPartialCapacity:
    """Room for a few nodes."""

    def test_a_call_grants_a_part_and_refuses_the_rest(self) -> None:
        """Grants and refusals of one call, in the same second: `partial.jsonl`."""
        engine = until(world(outages=(some(1),), demand=lambda at: 600.0 if at < HOUR else 2600.0, seconds=2 * HOUR), 1.5)
        refused = {one.at for one in pool(engine).failures}
        assert refused & {float(int(claim.launched or 0)) for claim in pool(engine).launches}
        assert sum(claim.created > engine.setup.start + 0.5 * HOUR for claim in pool(engine).launches) == len(ZONES)

    def test_what_has_no_room_left_is_exhausted_and_what_has_is_not(self) -> None:
        """The truth that invariants compare with."""
        simulation = world(outages=(some(1),), seconds=2 * HOUR)
        engine, truth = until(simulation, 0.6), Truth(simulation.engine)
        assert not truth.exhausted(INF2)
        for offering in engine.karpenter.offerings_of(engine.application.unit(INF2)):
            engine.ec2.create_fleet([offering], 5)
        assert truth.exhausted(INF2)

    def test_a_node_more_every_few_minutes(self) -> None:
        """A unit that gets one node a cycle."""
        simulation = world(outages=(some(0, every_s=600.0),), seconds=2 * HOUR)
        engine = until(simulation, 0.6)
        offerings = engine.karpenter.offerings_of(engine.application.unit(INF2))
        assert engine.ec2.exhausted(offerings)
        engine.event_queue.run(engine.setup.start + 0.7 * HOUR)
        assert not engine.ec2.exhausted(offerings)

    def test_a_trace_takes_back_the_spot_nodes_beyond_its_count(self) -> None:
        """How many nodes of each offering may run."""
        simulation = world(outages=(some(0, 1.0, 3.0, most=1),), capacity_types=SPOT, seconds=2 * HOUR)
        engine = until(simulation, 0.99)
        assert len(pool(engine).alive) > len(ZONES)
        engine.event_queue.run(engine.setup.start + 1.01 * HOUR)
        spot = [one for one in engine.karpenter.offerings_of(engine.application.unit(INF2)) if one.capacity_type == "spot"]
        assert [len([claim for claim in engine.karpenter.running(one) if not claim.gone]) for one in spot] == [1, 1, 1]


class TestCapacityTypes:
    """Spot and on-demand."""

    def test_spot_refused_and_on_demand_launched_is_no_shortage(self) -> None:
        """`spot_out.jsonl`."""
        out = Outage(0.0, 4 * HOUR, Shortage(("inf2.xlarge",), capacity_types=("spot",)))
        simulation = world(outages=(out,), capacity_types=SPOT)
        result = simulation.run()
        assert (result.mode_changes, result.violations) == ((), ())
        launched = [claim for claim in pool(simulation.engine).launches if claim.launched and claim.created > simulation.engine.setup.start]
        assert {claim.capacity_type for claim in launched} == {"on-demand"}
        assert {one.capacity_types for one in pool(simulation.engine).failures} == {("on-demand", "spot")}

    def test_both_refused_is_a_shortage(self) -> None:
        """Every capacity type must be out."""
        result = play(outages=(outage(0.5, 2.0),), capacity_types=SPOT)
        assert Mode.CAPACITY in [one.to for one in result.mode_changes]
        assert result.violations == ()

    def test_an_interruption_drains_the_node_and_its_pod_gets_another_one(self) -> None:
        """The instance is gone before its two minutes are over, and the Deployment has as many pods as before."""
        engine = until(world(capacity_types=SPOT, demand=lambda at: 900.0), 0.5)
        victim = pool(engine).nodes[0]
        pods = engine.workloads.units[INF2]
        before = pods.ready
        engine.karpenter.interrupt(victim.claim)
        assert (pods.ready, len(pods.pods)) == (before - 1, pods.desired)
        engine.event_queue.run(engine.event_queue.now + 120)
        assert victim.claim not in pool(engine).alive
        engine.event_queue.run(engine.event_queue.now + 1200)
        assert pods.ready == before

    def test_a_node_that_boots_is_interrupted_too(self) -> None:
        """Its pod waits for another one."""
        engine = until(world(capacity_types=SPOT, demand=lambda at: 900.0 if at < 1800 else 1500.0), 0.52)
        while not (booting := [claim for claim in pool(engine).alive if claim.launched and claim.node is None]):
            engine.event_queue.run(engine.event_queue.now + 10)
        engine.karpenter.interrupt(booting[0])
        engine.event_queue.run(engine.event_queue.now + 1800)
        pods = engine.workloads.units[INF2]
        assert booting[0] not in pool(engine).alive
        assert pods.ready == pods.desired

    def test_without_karpenter_the_instance_goes_after_the_notice(self) -> None:
        """Nobody drains it."""
        engine = until(world(capacity_types=SPOT, demand=lambda at: 900.0), 0.5)
        engine.fault_state.karpenter_silent = True
        victim, start = pool(engine).nodes[0], engine.event_queue.now
        engine.karpenter.interrupt(victim.claim)
        engine.event_queue.run(start + 119)
        assert victim in pool(engine).nodes
        engine.event_queue.run(start + 121)
        assert victim.claim not in pool(engine).alive


def test_days_of_spot_interruptions_are_no_shortage() -> None:
    """The package's world `month-spot`: nodes are taken back several times a day, and on-demand ones follow."""
    world = load(find("month-spot"))
    simulation, shortages = Simulation(world.setup(2, days=2.0, interval_s=240.0), 2), Shortages()
    simulation.engine.observers.append(shortages)
    result = simulation.run()
    assert (result.mode_changes, result.violations, shortages.units) == ((), (), set())
    assert shortages.refused >= {INF2, "sd21-g6-triton"}
    assert len(simulation.engine.setup.outages) > 20


class TestSharedPools:
    """A NodePool with several accelerators."""

    SHARED = in_pools(application(), {"sd21-g5-triton": "nvidia", "sd21-g5-cuda": "nvidia", "sd21-g6-triton": "nvidia"})

    def test_refusals_of_one_type_hit_its_unit_alone(self) -> None:
        """`shared_pool.jsonl`: `FailedScheduling` says it of the pods, and nothing is said of the pool."""
        simulation = world(application=self.SHARED, outages=(outage(0.5, 3.5, "g6.xlarge"),))
        shortages = Shortages()
        simulation.engine.observers.append(shortages)
        result = simulation.run()
        assert shortages.units == {"sd21-g6-triton"}
        assert result.violations == ()
        assert pool(simulation.engine, "nvidia").blocked_at is None
        assert {one.instance_types for one in pool(simulation.engine, "nvidia").failures} == {("g6.xlarge",)}

    def test_each_pod_gets_a_node_of_its_own_type(self) -> None:
        """A g5 pod does not run on a g6 node."""
        engine = until(world(application=self.SHARED), 3.0)
        bound = [
            (pod.unit.instance_type, pod.node.claim.instance_type)
            for pods in engine.workloads.units.values()
            for pod in pods.pods
            if pod.node
        ]
        assert len(bound) > 10
        assert all(wanted == got for wanted, got in bound)

    def test_the_draw_shares_pools_and_allows_spot(self) -> None:
        """In some worlds, the same ones each time."""
        found = [varied(application(), str(seed)) for seed in range(20)]
        assert found == [varied(application(), str(seed)) for seed in range(20)]
        pools = [{unit.node_pool for unit in made.units} for made, _ in found]
        assert {len(names) for names in pools} == {3, 4}
        assert {"on-demand", "spot"} == {kind for _, kinds in found for of in kinds.values() for kind in of}
        assert any(not kinds for _, kinds in found)


def test_the_draw_lets_units_run_nothing_where_a_plan_brings_them_back() -> None:
    """In half of those worlds, and never the first unit."""
    live = application(policy=PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE))
    fewest = [tuple(unit.min_replicas for unit in at_zero(live, str(seed)).units) for seed in range(20)]
    assert set(fewest) == {(1, 1, 1, 1, 1), (1, 0, 0, 0, 0)}
    assert all(at_zero(application(), str(seed)) == application() for seed in range(20))


def test_the_draw_lets_a_node_pool_buy_nothing_but_spot_where_a_plan_survives_its_loss() -> None:
    """In a third of those worlds, where a family may then be lost for a cold start; never a NodePool that the file is about."""
    live = application(policy=PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE))
    fixed = live.units[0].node_pool
    found = [with_spot_alone(live, {}, str(seed), (fixed,)) for seed in range(30)]
    assert {kinds for _, bought in found for kinds in bought.values()} == {("spot",)}
    assert all(made.policy.resilience_s == (600.0 if bought else 0.0) and fixed not in bought for made, bought in found)
    assert 0 < sum(bool(bought) for _, bought in found) < 20
    assert all(with_spot_alone(application(), {}, str(seed)) == (application(), {}) for seed in range(20))


def test_an_outage_of_a_family_is_about_all_its_sizes() -> None:
    """The fault `ice-family`, in NodePools of other sizes as well."""
    units = application().units
    large = replace(units[4], node_pool="g5-large", instance_type="g5.8xlarge")
    simulation = world(application=application(units=(*units[:4], large)))
    engine = until(simulation, 0.5)
    FAULTS["ice-family"].begin(engine, fault("ice-family", 0.5, unit="sd21-g5-triton"))
    truth = simulation.truth
    assert [unit.name for unit in engine.application.units if truth.exhausted(unit.name)] == ["sd21-g5-triton", "sd21-g5-cuda"]


FILE = """
apiVersion: failoverctl.dev/v1alpha1
kind: Simulation
name: test
description: Spot nodes as a trace counts them.
applications: {application}
days: 0.25
intervalSeconds: 60
demand:
  wave: {{base: 1500, peak: 1500, periodSeconds: 86400, peakAtSeconds: 43200}}
capacityTypes: {{nvidia: [on-demand, spot], amd-neuron-inf2: [on-demand, spot]}}
nodePools: {{nvidia: [sd21-g5-triton, sd21-g5-cuda, sd21-g6-triton]}}
outages:
- {{fromSeconds: 3600, toSeconds: 7200, instanceTypes: [g6.xlarge], capacityTypes: [spot], left: 1, everySeconds: 600}}
traces:
- {{file: {trace}, nodes: true, unitSeconds: 1, scale: {scale}, instanceTypes: [inf2.xlarge], capacityTypes: [spot]}}
"""


class TestFile:
    """A world as a person writes it."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file with everything that capacity has."""
        (tmp_path / "trace.csv").write_text("time,nodes\n0,16\n5000,1\n9000,0\n12000,16\n")
        path = tmp_path / "world.yaml"
        path.write_text(FILE.format(application=FOLDER / "applications" / "sd21.yaml", trace="trace.csv", scale=1))
        return path

    def test_says_what_there_is(self, path: Path) -> None:
        """Of which NodePool, capacity type and how many."""
        made = load(path).setup(1)
        assert {unit.name for unit in made.application.units if unit.node_pool == "nvidia"} == {
            "sd21-g5-triton",
            "sd21-g5-cuda",
            "sd21-g6-triton",
        }
        assert made.capacity_types == {"nvidia": ("on-demand", "spot"), "amd-neuron-inf2": ("on-demand", "spot")}
        assert made.fleet is FleetAnswer.ONE_ZONE
        inf2 = Shortage(("inf2.xlarge",), capacity_types=("spot",))
        assert made.outages == (
            Outage(3600.0, 7200.0, Shortage(("g6.xlarge",), capacity_types=("spot",), left=1), 600.0),
            Outage(5000.0, 9000.0, inf2, most=1),
            Outage(9000.0, 12_000.0, inf2, most=0),
        )

    def test_a_run_that_is_written_out_is_the_same_run(self, path: Path) -> None:
        """With everything that the seed drew."""
        world, seed = load(path), 3
        drawn = world.setup(seed, random_faults=True)
        path.with_name("drawn.yaml").write_text(written_out(world, drawn, seed, path.parent))
        again = load(path.with_name("drawn.yaml")).setup(seed)
        assert (again.application, again.capacity_types, again.fleet) == (drawn.application, drawn.capacity_types, drawn.fleet)
        assert again.outages == drawn.outages
        assert Simulation(again, seed).run().violations == Simulation(drawn, seed).run().violations == ()

    @pytest.mark.parametrize("wrong", ["nodePools: {nvidia: [nobody]}", "capacityTypes: {nowhere: [spot]}", "fleet: some-zones"])
    def test_a_wrong_name_is_refused(self, path: Path, wrong: str) -> None:
        """With what is allowed."""
        key = wrong.partition(":")[0]
        lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
        path.write_text("\n".join([*lines, wrong]))
        with pytest.raises(ConfigError):
            load(path)

    @pytest.mark.parametrize(
        "wrong", ["rowSeconds: 0.000001", "outages: [{fromSeconds: 0, toSeconds: 800, everySeconds: 0.000001}]"], ids=lambda one: one[:10]
    )
    def test_what_would_be_done_a_million_times_a_second_is_refused(self, path: Path, wrong: str) -> None:
        """The run would not end, or be called a fault of the simulation."""
        whole = {**yaml.safe_load(path.read_text()), **yaml.safe_load(wrong)}
        path.write_text(yaml.safe_dump(whole))
        with pytest.raises(ConfigError, match=r"Seconds: found 1.0e-06 \(float\); allowed: 0, or a number 1 to 31622400"):
            load(path)

    @pytest.mark.skipif(not DATA.exists(), reason="the traces live outside the project")
    def test_sixteen_days_of_partial_capacity_lose_no_requests(self, path: Path) -> None:
        """Spot comes and goes, on-demand is there: no failover, and no invariant that does not hold."""
        trace = DATA / "skypilot_spot_16_nodes_us-west-2a_2023.csv"
        path.write_text(FILE.format(application=FOLDER / "applications" / "sd21.yaml", trace=trace, scale=0.01))
        simulation = Simulation(load(path).setup(1), 1)
        result = simulation.run()
        assert len(simulation.engine.setup.outages) > 20
        assert (result.violations, result.mode_changes) == ((), ())


def test_full_subnets_leave_nobody_who_could_take_over() -> None:
    """Nothing can be launched in any of them, so a mode change would gain nothing: it is not made, and the invariants do not ask for it."""
    result = play(faults=(fault("addresses-used-up", 0.5, 2.0),), seconds=3 * HOUR, demand=lambda at: 900.0 + 120 * at / HOUR)
    assert (list(result.violations), list(result.mode_changes)) == ([], [])
