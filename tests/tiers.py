"""Which tier each test is in: the one place that says so.

`--tier` selects tiers, and tests/conftest.py applies it; the targets of the Makefile pass it. A test is in the tier of the most
specific entry of `PLACES` that covers it, and in `unit` where none does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")


class Tier(StrEnum):
    """What a test needs, the least first."""

    UNIT = "unit"
    """This process, for at most a few seconds."""
    INTEGRATION = "integration"
    """Servers, processes or long recordings of its own; still nothing but package registries."""
    HEAVY = "heavy"
    """Distributions built and installed, floods of objects, measured load, faults and incidents of whole processes: minutes, and nothing
    but package registries."""
    SIMULATION = "simulation"
    """Whole simulated runs: days, each crash point, each broken core. Minutes of computing, and nothing but package registries."""
    CLUSTER = "cluster"
    """The real control plane of proof/failover_harness/control_plane."""
    WORLD = "world"
    """The real Karpenter, KEDA or load-balancer controller on that control plane."""
    MODEL_SERVER = "model-server"
    """The environment of the model server, with gigabytes of libraries."""
    IMAGE = "image"
    """Images that it builds and runs: root, and the programs of proof/failover_harness/images."""


DEFAULT: Final = (Tier.UNIT, Tier.INTEGRATION)
"""What `pytest` without `--tier`, and so `make test`, runs."""

TARGETS: Final[Mapping[str, tuple[Tier, ...]]] = {
    "test": DEFAULT,
    "test-unit": (Tier.UNIT,),
    "test-heavy": (Tier.HEAVY,),
    "test-simulation": (Tier.SIMULATION,),
    "test-cluster": (Tier.CLUSTER,),
    "test-world": (Tier.WORLD,),
    "test-pipelines": (Tier.MODEL_SERVER,),
    "test-image": (Tier.IMAGE,),
}
"""The targets of the Makefile that run a tier."""

ON_REAL: Final = frozenset({Tier.CLUSTER, Tier.WORLD, Tier.IMAGE})
"""The tiers with tests on the real control plane, whose programs must be there before the first of them."""

TIMEOUT_S: Final[Mapping[Tier, float]] = {
    Tier.SIMULATION: 180.0,
    Tier.CLUSTER: 300.0,
    Tier.WORLD: 600.0,
    Tier.MODEL_SERVER: 600.0,
    Tier.IMAGE: 1800.0,
}
"""Seconds that a test may take, where the default of pyproject.toml is too short; a test's own `timeout` mark comes first."""


@dataclass(frozen=True)
class Place:
    """Tests that share a tier.

    Attributes:
        tier: Their tier.
        path: A folder (it ends with a slash), a file, or `file::test` for one test with all its parameters.
        server: Only the tests whose parameter `server` has this value.
    """

    tier: Tier
    path: str
    server: str | None = None

    def covers(self, test: str) -> bool:
        """Whether a test, named without its parameters, is below the path."""
        return test == self.path or test.startswith(self.path if self.path.endswith("/") else f"{self.path}::")


PLACES: Final = (
    Place(Tier.INTEGRATION, "tests/adoption/test_command.py"),
    Place(Tier.INTEGRATION, "tests/analysis/cli/"),
    Place(Tier.SIMULATION, "tests/analysis/cli/test_progress.py"),
    Place(Tier.SIMULATION, "tests/analysis/cli/test_simulate.py"),
    Place(Tier.SIMULATION, "tests/analysis/cli/test_worth.py"),
    Place(Tier.SIMULATION, "tests/analysis/fuzz/"),
    Place(Tier.SIMULATION, "tests/analysis/report/test_golden.py"),
    Place(Tier.SIMULATION, "tests/analysis/report/test_simulated.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_aws_sample.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_block.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_capacity.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_clocks.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_crash_points.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_deleted_services.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_experiments.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_fail_static.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_invariants.py::test_a_broken_core_is_caught"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_proportion.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_risen_demand.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_routes.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_runs.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_sample_day.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_seeds.py::test_it_breaks_again_without_the_fix"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_seeds.py::test_what_once_broke_holds"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_spot_waves.py"),
    Place(Tier.SIMULATION, "tests/analysis/simulation/test_vanished.py"),
    Place(Tier.CLUSTER, "tests/benchmarks/test_objects.py"),
    Place(Tier.INTEGRATION, "tests/benchmarks/test_soak.py"),
    Place(Tier.SIMULATION, "tests/benchmarks/test_worth.py::test_the_code_of_today_makes_the_same_run"),
    Place(Tier.INTEGRATION, "tests/breaking_point/test_accelerator.py"),
    Place(Tier.MODEL_SERVER, "tests/breaking_point/test_model_server.py"),
    Place(Tier.HEAVY, "tests/breaking_point/test_real.py"),
    Place(Tier.INTEGRATION, "tests/breaking_point/test_run.py"),
    Place(Tier.HEAVY, "tests/breaking_point/test_run.py::test_the_knee_of_a_queue_is_found_within_five_percent"),
    Place(Tier.HEAVY, "tests/breaking_point/test_run.py::test_the_knee_of_a_server_that_sheds_is_found_within_five_percent"),
    Place(Tier.HEAVY, "tests/breaking_point/test_run.py::test_the_true_knee_of_a_queue_with_exponential_times_is_that_of_the_textbook"),
    Place(Tier.INTEGRATION, "tests/cli/"),
    Place(Tier.INTEGRATION, "tests/clients/"),
    Place(Tier.INTEGRATION, "tests/contract/"),
    Place(Tier.INTEGRATION, "tests/doctor/test_auto_mode.py"),
    Place(Tier.HEAVY, "tests/deploy/test_builds.py"),
    Place(Tier.INTEGRATION, "tests/deploy/test_chart.py"),
    Place(Tier.INTEGRATION, "tests/deploy/test_dashboards.py::test_prometheus_understands_every_query"),
    Place(Tier.INTEGRATION, "tests/deploy/test_monitoring.py::test_no_alert_fires_about_a_healthy_installation"),
    Place(Tier.INTEGRATION, "tests/deploy/test_monitoring.py::test_every_alert_fires_and_is_over_in_prometheus"),
    Place(Tier.INTEGRATION, "tests/deploy/test_monitoring.py::test_prometheus_reads_the_metrics_and_likes_their_names"),
    Place(Tier.HEAVY, "tests/deploy/test_permissions.py::test_a_missing_permission_is_a_named_degradation"),
    Place(Tier.HEAVY, "tests/deploy/test_wheels.py"),
    Place(Tier.INTEGRATION, "tests/drill/test_command.py"),
    Place(Tier.HEAVY, "tests/drill/test_cut.py"),
    Place(Tier.HEAVY, "tests/drill/test_ends.py"),
    Place(Tier.HEAVY, "tests/drill/test_whole.py"),
    Place(Tier.INTEGRATION, "tests/fuzz/"),
    Place(Tier.INTEGRATION, "tests/harness/dataplane/test_alb.py"),
    Place(Tier.INTEGRATION, "tests/harness/dataplane/test_elb.py"),
    Place(Tier.HEAVY, "tests/harness/dataplane/test_late_rules.py"),
    Place(Tier.HEAVY, "tests/harness/dataplane/test_switch.py"),
    Place(Tier.INTEGRATION, "tests/harness/election/"),
    Place(Tier.SIMULATION, "tests/harness/election/test_election_world.py"),
    Place(Tier.INTEGRATION, "tests/house/test_closing.py"),
    Place(Tier.HEAVY, "tests/house/test_tiers.py::test_no_tier_leaks_into_another"),
    Place(Tier.INTEGRATION, "tests/house/test_walk.py"),
    Place(Tier.INTEGRATION, "tests/house/test_words.py::test_words_that_are_gone_stay_gone"),
    Place(Tier.INTEGRATION, "tests/policy/test_enumeration.py"),
    Place(Tier.INTEGRATION, "tests/images/test_images.py::test_sigterm_reaches_the_command_behind_the_entry_point"),
    Place(Tier.HEAVY, "tests/images/test_images.py::test_the_installation_of_an_image_runs"),
    Place(Tier.INTEGRATION, "tests/notifiers/"),
    Place(Tier.SIMULATION, "tests/research/test_policies_on_outages.py"),
    Place(Tier.INTEGRATION, "tests/service/"),
    Place(Tier.HEAVY, "tests/service/test_faults.py"),
    Place(Tier.HEAVY, "tests/service/test_object_status.py::test_a_large_fleet_in_which_all_change_writes_no_more_than_a_small_one"),
    Place(Tier.HEAVY, "tests/service/test_object_status.py::test_what_alone_the_account_changes_is_a_thousand_writes_an_hour"),
    Place(Tier.HEAVY, "tests/signals/test_floods.py"),
    Place(Tier.INTEGRATION, "tests/signals/load_balancer/test_moto.py"),
    Place(Tier.INTEGRATION, "tests/signals/load_balancer/test_turns.py"),
    Place(Tier.SIMULATION, "tests/signals/load_balancer/test_turns.py::test_a_thousand_applications_within_the_budget_that_is_advised"),
    Place(Tier.INTEGRATION, "tests/signals/test_auto_mode.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_cloudwatch.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_cloudwatch_moto.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_cluster.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_concerns.py::test_whatever_changes_a_snapshot_marks_its_application"),
    Place(Tier.INTEGRATION, "tests/signals/test_ec2.py"),
    Place(Tier.SIMULATION, "tests/signals/test_garbage_for_a_day.py"),
    Place(Tier.HEAVY, "tests/signals/test_hostile.py::test_each_field_alone"),
    Place(Tier.INTEGRATION, "tests/signals/test_karpenter_metrics.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_once.py"),
    Place(Tier.INTEGRATION, "tests/signals/test_recordings.py"),
    Place(Tier.SIMULATION, "tests/signals/test_recordings.py::test_capacity_returns_no_earlier_than_the_registered_condition"),
    Place(Tier.SIMULATION, "tests/signals/test_recordings.py::test_what_is_no_shortage_changes_nothing_ever"),
    Place(Tier.SIMULATION, "tests/signals/test_recordings.py::test_world_falls_back_once_the_return_is_proven_and_quiet"),
    Place(Tier.INTEGRATION, "tests/signals/test_slim.py::test_a_snapshot_is_the_same_from_whole_and_from_cut_objects"),
    Place(Tier.INTEGRATION, "tests/signals/test_watch.py"),
    Place(Tier.SIMULATION, "tests/situations/"),
    Place(Tier.INTEGRATION, "tests/testbed/"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_demo.py"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_environment.py::test_units_of_every_kind_are_proven_short_and_get_their_floors"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_incidents.py"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_runbooks.py"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_verify_install.py::test_a_run_that_is_interrupted_removes_the_annotation"),
    Place(Tier.HEAVY, "tests/testbed/demo/test_verify_install.py::test_what_a_killed_run_left_is_removed_by_the_next"),
    Place(Tier.SIMULATION, "tests/testbed/karpenter/test_karpenter_recordings.py"),
    Place(Tier.CLUSTER, "tests/cluster/"),
    Place(Tier.CLUSTER, "tests/contract/", server="real"),
    Place(Tier.WORLD, "tests/world/"),
    Place(Tier.IMAGE, "tests/images/built/"),
)
"""Every test that is not in `unit`."""


WAITING: Final = (
    "tests/world/test_alone.py",
    "tests/world/test_adopted.py::test_it_is_adopted_made_safe_and_led_through_outages",
    "tests/world/test_adopted.py",
    "tests/world/test_whole.py",
    "tests/world/test_vanished.py",
    "tests/world/test_drill.py",
    "tests/world/test_gateways.py",
    "tests/world/test_keda.py::test_targets_return_once_sticky_clients_have_left",
    "tests/world/test_keda.py::test_a_unit_without_capacity_is_left_and_returned_to_on_proof",
    "tests/world/test_world.py::test_a_unit_without_capacity_is_left_and_returned_to_on_proof",
    "tests/world/test_load_balancer.py::test_an_unreported_success_does_not_block_a_mode_change_for_long",
    "tests/breaking_point/test_real.py::test_the_knee_of_a_real_server_is_found",
    "tests/testbed/demo/test_incidents.py",
    "tests/testbed/demo/test_runbooks.py",
    "tests/testbed/demo/test_demo.py",
    "tests/harness/dataplane/test_late_rules.py",
    "tests/breaking_point/test_real.py::test_a_person_s_run_writes_the_file_and_prints_the_tables",
    "tests/service/test_faults.py::test_each_mode_change_is_made_once_and_reported_once",
    "tests/service/test_two_replicas.py",
    "tests/service/test_nudges.py",
    "tests/service/test_recording.py",
    "tests/service/test_service.py::test_it_fails_over_on_a_proven_shortage_and_falls_back_on_the_proven_return",
    "tests/service/test_service.py::test_an_action_that_a_rule_still_uses_stays_where_the_file_names_another",
    "tests/harness/dataplane/test_switch.py",
    "tests/breaking_point/test_real.py",
    "tests/service/test_notifiers_in_service.py",
    "tests/service/test_lost_answers.py",
    "tests/contract/test_watches.py",
    "tests/harness/dataplane/test_alb.py",
)
"""Files, and tests (`file::test`), that mostly wait, the longest first.

Some workers begin with them while the others compute. Left to chance they come together, and the processors are idle for that time.
"""


def waiting(nodeid: str) -> int | None:
    """The place of a test in `WAITING`, 0 for the longest; None where it is not there."""
    test = nodeid.split("[", 1)[0]
    return next((place for place, path in enumerate(WAITING) if test == path or test.startswith(f"{path}::")), None)


def spread(tests: Sequence[T], place: Callable[[T], int | None], workers: int) -> list[T]:
    """The tests in an order in which some workers begin with those that wait, so that none of these is left for the end.

    Where most tests wait, every worker begins with some; else half of the workers do, and the others keep the processors busy meanwhile.

    Args:
        tests: All of them, in any order.
        place: A test's place among those that wait; None where it does not wait.
        workers: Of how many; xdist's `worksteal` gives each a contiguous share at first.
    """
    places = {index: found for index, one in enumerate(tests) if (found := place(one)) is not None}
    first = [tests[index] for index in sorted(places, key=places.__getitem__)]
    rest = [one for index, one in enumerate(tests) if index not in places]
    begin = workers if len(first) > len(rest) else min(workers, max(2, (workers + 1) // 2))
    shares = [first[worker::begin] for worker in range(begin)] + [[]] * (workers - begin)
    starts = [len(rest) * worker // workers for worker in range(workers + 1)]
    return [one for worker in range(workers) for one in (*shares[worker], *rest[starts[worker] : starts[worker + 1]])]


def rotated(things: Sequence[T], worker: int, workers: int) -> list[T]:
    """All of them in the same order, beginning at another place for each worker: 0 for the first of `workers`."""
    begin = len(things) * worker // workers
    return [*things[begin:], *things[:begin]]


def tier_of(nodeid: str, server: object = None) -> Tier:
    """The tier of one test.

    Args:
        nodeid: pytest's name of it, with or without parameters.
        server: Its parameter `server`, where it has one.
    """
    return _tier_of(nodeid.split("[", 1)[0], server)


@cache  # a test with a thousand parameters is asked about a thousand times
def _tier_of(test: str, server: object) -> Tier:
    covering = [one for one in _places(test.split("::", 1)[0]) if one.covers(test) and one.server in {None, server}]
    return max(covering, key=lambda one: (len(one.path), one.server is not None)).tier if covering else Tier.UNIT


@cache  # a file has dozens of tests, and few places
def _places(path: str) -> list[Place]:
    """Those of a file, of its tests and of the folders that it is in."""
    return [one for one in PLACES if one.covers(f"{path}::") or one.path.startswith(f"{path}::")]


def tiers_of(path: str) -> frozenset[Tier]:
    """The tiers that the tests of a file may be in."""
    inside = {one.tier for one in PLACES if one.path.startswith(f"{path}::") or (one.server and one.covers(path))}
    return frozenset({tier_of(path), *inside})


def selection(text: str) -> frozenset[Tier]:
    """The tiers of an option's comma-separated value.

    Raises:
        ValueError: One is not a tier.
    """
    return frozenset(Tier(one.strip()) for one in text.split(","))
