"""The values of an application file reach the policy, and invalid values are refused with helpful errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.catalog.application import ApplicationFile, PolicyFile, UnitFile
from controller.catalog.fields import yaml_key
from controller.catalog.loader import load_application_file
from controller.documents import place_text
from controller.errors import ConfigError
from controller.policy.model import Backend, Cause, Mode, PolicySettings, RoutingStyle, Sample, Strategy, Unit, WeightStrategy, WorkloadKind
from controller.policy.routing import weight_strategy
from controller.routing.conclusion import conclude
from failover_setup.application import load_definitions
from failover_setup.tables import weights_report
from tests.support.applications import NOW, memory, snapshot

SD21 = Path(__file__).parents[2] / "config" / "sd21.yaml"


def load(tmp_path: Path, document: dict[str, Any]) -> Any:
    path = tmp_path / "app.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_application_file(path)[0]


def refusal(tmp_path: Path, document: dict[str, Any]) -> list[str]:
    """The lines of the error, without file and line number."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, document)
    return [line.split(": ", 1)[1] for line in str(error.value).splitlines()]


def put(document: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    target: Any = document
    for step in place[:-1]:
        target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
    target[place[-1]] = value


class TestSeed:
    def test_has_the_five_units_and_weights_of_the_aws_sample(self) -> None:
        (application,) = load_application_file(SD21)
        assert {unit.name: unit.weight for unit in application.units} == {
            "sd21-inf2": 40,
            "sd21-trn1": 20,
            "sd21-g5-triton": 15,
            "sd21-g6-triton": 10,
            "sd21-g5-cuda": 15,
        }
        assert application.key == "default/sd21"
        assert application.route.part == "weighted-routing"
        assert application.capacity == Backend("sd21-all", 80)
        assert application.metric_namespace == "hw-agnostic-infer"

    def test_has_the_numbers_of_the_aws_sample(self) -> None:
        (application,) = load_application_file(SD21)
        assert [(u.instance_type, u.price_per_hour, u.throughput, u.latency_s) for u in application.units] == [
            ("inf2.xlarge", 0.7582, 105, 0.67),
            ("trn1.2xlarge", 1.3438, 130, 0.51),
            ("g5.xlarge", 1.0060, 90, 0.68),
            ("g6.xlarge", 0.8048, 61, 0.96),
            ("g5.xlarge", 1.0060, 60, 0.92),
        ]

    def test_names_everything_by_one_scheme(self) -> None:
        (application,) = load_application_file(SD21)
        for unit in application.units:
            assert unit.backend == Backend(unit.name, 80)
            assert unit.deployment == unit.name
            assert (unit.scaled_object, unit.counter_metric) == (f"{unit.name}-hpa", f"{unit.name}-counter")
            assert unit.latency_metric == f"{unit.name}-latency"

    def test_states_the_aws_samples_stickiness_for_cost_mode_only(self) -> None:
        (application,) = load_application_file(SD21)
        assert (application.policy.stickiness_cost_s, application.policy.stickiness_capacity_s) == (200, 0)

    def test_differs_from_the_default_policy_in_nothing_else(self) -> None:
        (application,) = load_application_file(SD21)
        assert application.policy == PolicySettings(stickiness_cost_s=200)


class TestDefaults:
    def test_an_absent_policy_equals_the_policys_own_default(self, tmp_path: Path, document: dict[str, Any]) -> None:
        assert load(tmp_path, document).policy == PolicySettings()

    def test_every_setting_of_the_policy_can_be_written(self) -> None:
        assert set(PolicyFile.model_fields) == {field.name for field in fields(PolicySettings)}

    def test_every_value_of_a_unit_can_be_written(self) -> None:
        ours = (set(UnitFile.model_fields) - {"service", "stack", "workload"}) | {"backend", "workload_kind"}
        assert ours == {field.name for field in fields(Unit)}

    @pytest.mark.parametrize("kind", list(WorkloadKind))
    def test_a_workload_names_its_kind(self, tmp_path: Path, document: dict[str, Any], kind: WorkloadKind) -> None:
        (unit,) = load(tmp_path, document).units[:1]
        assert unit.workload == f"Deployment {unit.deployment}"
        first = document["spec"]["units"][0]
        first["workload"] = {"kind": str(kind), "name": first.pop("deployment")}
        assert load(tmp_path, document).units[0] == replace(unit, workload_kind=kind)

    def test_a_unit_has_one_workload(self, tmp_path: Path, document: dict[str, Any]) -> None:
        first = document["spec"]["units"][0]
        first["workload"] = {"kind": "Rollout", "name": "one"}
        with pytest.raises(ConfigError, match="deployment: found both deployment and workload; allowed: the name of a Deployment"):
            load(tmp_path, document)
        del first["workload"], first["deployment"]
        with pytest.raises(ConfigError, match="deployment: found nothing; allowed: the name of a Deployment"):
            load(tmp_path, document)
        first["workload"] = {"kind": "DaemonSet", "name": "one"}
        with pytest.raises(ConfigError, match=r"workload\.kind"):
            load(tmp_path, document)

    @pytest.mark.parametrize("place", [("spec", "stack"), ("spec", "units", 0, "stack")])
    def test_sections_of_setting_up_are_checked_by_its_commands_alone(
        self, tmp_path: Path, document: dict[str, Any], place: tuple[str | int, ...]
    ) -> None:
        """A controller that serves traffic must not refuse a file because of what it never reads."""
        sound = load(tmp_path, document)
        put(document, place, {"typo": 1})
        assert load(tmp_path, document) == sound
        with pytest.raises(ConfigError, match="found an unknown key; allowed: "):
            load_definitions(tmp_path)
        put(document, place, "a text")
        assert any("found text; allowed: a mapping" in line and "keys" not in line for line in refusal(tmp_path, document))

    def test_a_unit_that_is_not_complete_has_the_policys_own_defaults(self, tmp_path: Path, document: dict[str, Any]) -> None:
        unit = load(tmp_path, document).units[0]
        plain = Unit("one", Backend("one", 80), "one", "pool", "inf2.xlarge", 1.0, 100, 0.5)
        for name in ("instance_types", "zones", "latency_limit_s", "cold_start_s", "min_replicas", "max_replicas", "latency_metric"):
            assert getattr(unit, name) == getattr(plain, name)

    @pytest.mark.parametrize("name", list(PolicyFile.model_fields))
    def test_every_policy_field_is_described_and_durations_name_seconds(self, name: str) -> None:
        description = PolicyFile.model_fields[name].description
        assert description
        assert description.endswith(".")
        assert not name.endswith("_s") or ("seconds" in description and yaml_key(name).endswith("Seconds"))


class TestMeaning:
    @pytest.mark.parametrize(
        ("place", "value", "read", "expected"),
        [
            pytest.param(("spec", "routingStyle"), "in-place", lambda a: a.routing_style, RoutingStyle.IN_PLACE, id="routing style"),
            pytest.param(("spec", "units", 0, "weight"), 0, lambda a: a.units[0].weight, 0, id="weight 0 is a weight"),
            pytest.param(("spec", "units", 0, "weight"), 999, lambda a: a.units[0].weight, 999, id="weight 999"),
            pytest.param(("spec", "units", 0, "service", "port"), "http", lambda a: a.units[0].backend.port, "http", id="port by name"),
            pytest.param(("spec", "units", 0, "zones"), ["us-west-2a"], lambda a: a.units[0].zones, ("us-west-2a",), id="zones"),
            pytest.param(
                ("spec", "policy", "tripCauses"), ["quota"], lambda a: a.policy.trip_causes, frozenset({Cause.QUOTA}), id="trip causes"
            ),
            pytest.param(("spec", "policy", "patienceSeconds"), 90, lambda a: a.policy.patience_s, 90, id="a duration"),
            pytest.param(("spec", "policy", "allowUnsafeSwitch"), False, lambda a: a.policy.allow_unsafe_switch, False, id="a boolean"),
            pytest.param(("spec", "metrics", "periodSeconds"), 300, lambda a: a.metric_period_s, 300, id="metric period"),
        ],
    )
    def test_a_value_reaches_the_policy(
        self, tmp_path: Path, document: dict[str, Any], place: tuple[str | int, ...], value: Any, read: Callable[[Any], Any], expected: Any
    ) -> None:
        put(document, place, value)
        assert read(load(tmp_path, document)) == expected

    @pytest.mark.parametrize("throughput", [0.001, 1e9])
    @pytest.mark.parametrize("price", [0.0001, 10_000])
    @pytest.mark.parametrize("strategy", Strategy)
    def test_decisions_can_be_made_at_every_bound(
        self, tmp_path: Path, document: dict[str, Any], strategy: Strategy, price: float, throughput: float
    ) -> None:
        """A throughput of 1e-300 was accepted, and every pass failed."""
        put(document, PRICE, price)
        put(document, THROUGHPUT, throughput)
        document["spec"]["policy"] = {"strategy": strategy.value}
        app = load(tmp_path, document)
        assert weights_report(app).json()
        assert weights_report(app).text()
        for mode, demand in itertools.product(Mode, (0.0, 1.0, 1e12)):
            made = snapshot(app, mode)
            units = {name: replace(one, demand=Sample(demand, NOW)) for name, one in made.units.items()}
            assert conclude(memory(mode), replace(made, units=units)).decision.mode is mode

    @pytest.mark.parametrize("stated", [None, *WeightStrategy])
    @pytest.mark.parametrize("strategy", [None, *Strategy])
    def test_units_need_a_weight_where_decisions_use_it(
        self, tmp_path: Path, document: dict[str, Any], strategy: Strategy | None, stated: WeightStrategy | None
    ) -> None:
        """Only there: a file without weights was refused with strategy planned, which ignores them."""
        policy = {"strategy": strategy and strategy.value, "weightStrategy": stated and stated.value}
        document["spec"]["policy"] = {key: value for key, value in policy.items() if value}
        used = weight_strategy(load(tmp_path, document))
        del document["spec"]["units"][0]["weight"]
        if used is WeightStrategy.EXPLICIT:
            (line,) = refusal(tmp_path, document)
            assert line.startswith("spec.units[0].weight: found nothing; allowed: an integer 0 to 999 for every unit")
        else:
            assert load(tmp_path, document).units[0].weight is None

    @pytest.mark.parametrize("setting", ["strategy", "weightStrategy"])
    def test_a_strategy_that_is_none_says_nothing_about_weights(self, tmp_path: Path, document: dict[str, Any], setting: str) -> None:
        """Which weights it would need is not known; its own fault is reported."""
        document["spec"]["policy"] = {setting: "cheapest"}
        del document["spec"]["units"][0]["weight"]
        (line,) = refusal(tmp_path, document)
        assert line.startswith(f"spec.policy.{setting}: ")


WEIGHT = ("spec", "units", 0, "weight")
PORT = ("spec", "units", 0, "service", "port")
PRICE = ("spec", "units", 0, "pricePerHour")
THROUGHPUT = ("spec", "units", 0, "throughput")


class TestRefused:
    @pytest.mark.parametrize(
        ("place", "value", "text"),
        [
            pytest.param(WEIGHT, 40.5, "found 40.5 (float); allowed: an integer 0 to 999, or nothing", id="weight with a fraction"),
            pytest.param(WEIGHT, 40.0, "found 40.0 (float); allowed: an integer 0 to 999, or nothing; write 40", id="weight as a float"),
            pytest.param(
                WEIGHT, "40", 'found "40" (text); allowed: an integer 0 to 999, or nothing; write it without quotes', id="weight in quotes"
            ),
            pytest.param(WEIGHT, True, "found true (boolean); allowed: an integer 0 to 999, or nothing", id="weight as a boolean"),
            pytest.param(WEIGHT, 1000, "found 1000 (integer); allowed: an integer 0 to 999, or nothing", id="weight too large"),
            pytest.param(WEIGHT, -1, "found -1 (integer); allowed: an integer 0 to 999, or nothing", id="weight negative"),
            pytest.param(WEIGHT, 10**40, "allowed: a decimal number of at most 18 digits", id="weight beyond every integer"),
            pytest.param(WEIGHT, None, "found nothing; allowed: an integer 0 to 999 for every unit", id="explicit weight missing"),
            pytest.param(PORT, "80", 'found "80" (text); allowed: an integer 1 to 65535', id="port in quotes"),
            pytest.param(PORT, 0, "found 0 (integer); allowed: an integer 1 to 65535", id="port 0"),
            pytest.param(PORT, 65536, "found 65536 (integer)", id="port too large"),
            pytest.param(PORT, True, "found true (boolean)", id="port as a boolean"),
            pytest.param(PORT, "Http", 'found "Http" (text)', id="port name in capitals"),
            pytest.param(PORT, "a-port-name-too-long", "or the Service's port name", id="port name too long"),
            pytest.param(PRICE, float("nan"), "found .nan (not a finite number); allowed: a number 0.0001 to 10000", id="price nan"),
            pytest.param(PRICE, float("inf"), "found .inf (not a finite number)", id="price infinite"),
            pytest.param(PRICE, 0, "found 0 (integer); allowed: a number 0.0001 to 10000", id="price zero"),
            pytest.param(PRICE, 1e-300, "found 1.0e-300 (float); allowed: a number 0.0001 to 10000", id="price too small"),
            pytest.param(THROUGHPUT, -1, "found -1 (integer); allowed: a number 0.001 to 1000000000", id="throughput negative"),
            pytest.param(THROUGHPUT, 5e-324, "found 5.0e-324 (float); allowed: a number 0.001 to 1000000000", id="throughput too small"),
            pytest.param(("spec", "units", 0, "latencySeconds"), True, "found true (boolean)", id="latency as a boolean"),
            pytest.param(("spec", "units", 0, "wieght"), 1, "found an unknown key; did you mean weight?", id="misspelt key"),
            pytest.param(
                ("spec", "units", 0, "price_per_hour"), 1, "found an unknown key; did you mean pricePerHour?", id="snake case key"
            ),
            pytest.param(
                ("spec", "units", 0, "name"), True, "found true (boolean); allowed: a DNS label", id="a name that YAML calls true"
            ),
            pytest.param(("spec", "units", 0, "name"), "One", "allowed: a DNS label", id="a name in capitals"),
            pytest.param(
                ("spec", "units", 0, "service", "name"), "1st", "allowed: a Service name", id="a Service that starts with a digit"
            ),
            pytest.param(
                ("spec", "action"), "a" * 56, "allowed: a DNS label (lower-case letters, digits and -; at most 55", id="action long"
            ),
            pytest.param(("spec", "routingStyle"), "both", "allowed: single-service | in-place", id="routing style"),
            pytest.param(
                ("spec", "policy", "returnSteps"),
                3,
                "found a setting that no longer exists; remove it: a fallback",
                id="steps of a fallback",
            ),
            pytest.param(
                ("spec", "policy", "holdStrategy"), "learned", "found a setting that no longer exists; remove it: ", id="a removed setting"
            ),
            pytest.param(("spec", "policy", "patience"), 3, "did you mean patienceSeconds?", id="a duration without its unit"),
            pytest.param(("spec", "policy", "tripCauses"), ["ice"], "allowed: capacity | quota | network | config | unknown", id="cause"),
            pytest.param(("spec", "policy", "tripCauses"), [], "found a list of 0; allowed: a list of 1 to 5 entries", id="no causes"),
            pytest.param(("spec", "policy", "stickinessCostSeconds"), 604_801, "allowed: an integer 0 to 604800", id="stickiness"),
            pytest.param(("spec", "metrics", "periodSeconds"), 90, "allowed: a multiple of 60, 60 to 3600", id="metric period"),
            pytest.param(("spec", "units"), [], "found a list of 0; allowed: a list of 1 to 5 entries", id="no units"),
            pytest.param(("spec", "units"), {"a": 1}, "found a mapping; allowed: a list of 1 to 5 entries", id="units as a mapping"),
            pytest.param(("spec",), "text", "found text; allowed: a mapping with the keys action", id="spec as text"),
            pytest.param(("kind",), "Ingress", 'found "Ingress" (text); allowed: FailoverApplication | Application', id="another kind"),
            pytest.param(("apiVersion",), "v1", 'found "v1" (text); allowed: failoverctl.dev/v1alpha1', id="another version"),
        ],
    )
    def test_a_single_value_that_is_wrong(
        self, tmp_path: Path, document: dict[str, Any], place: tuple[str | int, ...], value: Any, text: str
    ) -> None:
        put(document, place, value)
        lines = [line for line in refusal(tmp_path, document) if place_text(place) in line]
        assert len(lines) == 1
        assert text in lines[0]

    @pytest.mark.parametrize(
        ("changes", "place", "text"),
        [
            pytest.param({("spec", "units", 1, "name"): "one"}, "spec.units[1].name", "which units[0] has too", id="unit name twice"),
            pytest.param(
                {("spec", "units", 1, "service"): {"name": "one", "port": 81}},
                "spec.units[1].service.name",
                "which units[0] has too",
                id="Service twice, by another port",
            ),
            pytest.param({("spec", "units", 1, "deployment"): "one"}, "spec.units[1].deployment", "units[0]", id="Deployment twice"),
            pytest.param({("spec", "units", 1, "scaledObject"): "one-hpa"}, "spec.units[1].scaledObject", "fight", id="ScaledObject twice"),
            pytest.param(
                {("spec", "units", 1, "counterMetric"): "one-counter"}, "spec.units[1].counterMetric", "twice", id="counter twice"
            ),
            pytest.param(
                {("spec", "capacityService", "name"): "two"},
                "spec.capacityService.name",
                "a Service other than that of units[1]",
                id="capacity Service of a unit",
            ),
            pytest.param(
                {("spec", "units", 0, "weight"): 0, ("spec", "units", 1, "weight"): 0},
                "spec.units",
                "weights that are all 0",
                id="no weight",
            ),
            pytest.param(
                {("spec", "units", 0, "minReplicas"): 101}, "spec.units[0].minReplicas", "at most maxReplicas (100)", id="min > max"
            ),
            pytest.param(
                {("spec", "units", 0, "latencySeconds"): 0.9},
                "spec.units[0].latencyLimitSeconds",
                "more than latencySeconds (0.9)",
                id="a latency limit that is always broken",
            ),
            pytest.param(
                {("spec", "units", 0, "minReplicas"): 0, ("spec", "units", 1, "minReplicas"): 0},
                "spec.units",
                "minReplicas of at least 1 for one unit",
                id="nothing that must run",
            ),
            pytest.param(
                {("spec", "units", 0, "instanceTypes"): ["g5.xlarge"]},
                "spec.units[0].instanceTypes",
                "with inf2.xlarge",
                id="type not listed",
            ),
            pytest.param(
                {("spec", "policy", "holdMinSeconds"): 20_000},
                "spec.policy.holdMinSeconds",
                "at most holdMaxSeconds (14400)",
                id="hold bounds",
            ),
            pytest.param(
                {
                    ("spec", "policy", "strategy"): "planned",
                    ("spec", "policy", "plannedMode"): "live",
                    ("spec", "policy", "failoverUtilization"): 0,
                },
                "spec.policy.failoverUtilization",
                "more than 0 with plannedMode live",
                id="planned and every shortage",
            ),
        ],
    )
    def test_values_that_do_not_fit_together(
        self, tmp_path: Path, document: dict[str, Any], changes: dict[tuple[str | int, ...], Any], place: str, text: str
    ) -> None:
        for where, value in changes.items():
            put(document, where, value)
        (line,) = refusal(tmp_path, document)
        assert line.startswith(f"{place}: found ")
        assert text in line

    @pytest.mark.parametrize("style", [style.value for style in RoutingStyle])
    def test_six_units_with_either_routing_style(self, tmp_path: Path, document: dict[str, Any], style: str) -> None:
        first = document["spec"]["units"][0]
        document["spec"]["routingStyle"] = style
        document["spec"]["units"] = [
            {**first, "name": n, "service": {"name": n, "port": 80}, "deployment": n, "scaledObject": n, "counterMetric": n}
            for n in "abcdef"
        ]
        (line,) = refusal(tmp_path, document)
        assert line == "spec.units: found a list of 6; allowed: a list of 1 to 5 entries"

    def test_all_faults_are_reported_at_once(self, tmp_path: Path, document: dict[str, Any]) -> None:
        put(document, ("spec", "units", 0, "weight"), 40.5)
        put(document, ("spec", "units", 1, "service", "name"), "one")
        put(document, ("spec", "capacityService", "name"), "one")
        put(document, ("metadata", "nmae"), "x")
        del document["spec"]["ingress"]
        places = [line.split(": ", 1)[0] for line in refusal(tmp_path, document)]
        assert sorted(set(places)) == [
            "metadata.nmae",
            "spec.capacityService.name",
            "spec.ingress",
            "spec.units[0].weight",
            "spec.units[1].service.name",
        ]

    def test_a_model_made_without_a_file_is_checked_too(self, document: dict[str, Any]) -> None:
        put(document, ("spec", "capacityService", "name"), "one")
        with pytest.raises(ValueError, match=r"capacityService.name: found \"one\""):
            ApplicationFile.model_validate(document, strict=False)
