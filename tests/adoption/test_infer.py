"""`failoverctl init` on plain objects, without a server: objects in, application file out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.catalog.loader import Source, parse_applications
from controller.errors import ConfigError
from controller.policy.model import Application, Mode, RoutingStyle, Target, WorkloadKind
from controller.policy.routing import targets_at_rest
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.signals.workload_kinds import WORKLOADS, Owner, as_deployment, as_deployments
from failover_setup.adoption.infer import infer
from failover_setup.adoption.measured import Busiest
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.write import application_text, unsure
from failover_testbed.cluster import manifests
from tests.support import hand_built
from tests.support.applications import NOW, seed_units
from tests.support.stacks import NAMES, document, example, parsed

ACTION = action_key("weighted-routing")
POOLS = hand_built.POOLS
LATENCIES = {unit.counter_metric: Busiest(1000.0, unit.latency_s) for unit in seed_units()}


def observation_of(objects: Iterable[dict[str, Any]], **rest: Any) -> Observation:
    """An observation of these objects."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in objects:
        kinds.setdefault(one["kind"], []).append(one)
    named = {kind: {one["metadata"]["name"]: one for one in found} for kind, found in kinds.items()}
    (ingress,) = kinds["Ingress"]
    return Observation(
        now=NOW,
        obj=ingress,
        services=named.get("Service", {}),
        workloads=as_deployments({resource.name: kinds.get(resource.kind, []) for resource in WORKLOADS.values()}),
        scaled_objects=kinds.get("ScaledObject", []),
        node_pools=named.get("NodePool", {}),
        pods=kinds.get("Pod", []),
        node_claims=kinds.get("NodeClaim", []),
        **rest,
    )


def adopted(
    observed: Observation, measured: Mapping[str, Busiest] | None = None, action: str | None = None, price: str = ""
) -> tuple[str, Application]:
    """The file, and its application if it is complete, with the price that a person fills in where none is known."""
    found = infer(observed, action, lambda *_: (LATENCIES if measured is None else measured, ""))
    text = application_text(found, observed.now).replace("# pricePerHour: ?", f"pricePerHour: {price} #" if price else "# pricePerHour: ?")
    (application,) = parse_applications([Source("new.yaml", text.encode())]).values()
    return text, application


def hand_built_observation(**changes: Any) -> Observation:
    return observation_of(hand_built.stack("shop", **changes))


def annotated(observed: Observation, **values: str) -> Observation:
    """With further annotations on the Ingress."""
    metadata = observed.obj["metadata"]
    return replace(observed, obj={**observed.obj, "metadata": {**metadata, "annotations": {**metadata["annotations"], **values}}})


# --- whole stacks -------------------------------------------------------------------------------------------------------------------------


def test_a_stack_built_by_hand_gives_the_file_that_its_owner_would_write() -> None:
    """Names that differ, KEDA's default period, stickiness, weights, the Service over the shared label: everything is inferred."""
    _, application = adopted(hand_built_observation())
    written = parsed(hand_built.application_document("shop")).to_policy()
    bare = tuple(replace(unit, model="", device="", framework="") for unit in application.units)  # these are for people
    assert replace(application, units=bare) == written
    assert [unit.framework for unit in application.units] == ["neuron", "neuron", "triton", "triton", "cuda"]
    assert {unit.model for unit in application.units} == {"stabilityai/stable-diffusion-2-1"}


def test_in_capacity_mode_the_units_are_found_behind_the_one_service() -> None:
    """No action states the weights then, and the file says so; all else is the same."""
    observed = replace(hand_built_observation(), obj=hand_built.ingress("shop", capacity=True))
    text, application = adopted(observed)
    _, before = adopted(hand_built_observation())
    found = {unit.name: unit for unit in application.units}
    for unit in before.units:
        assert replace(found[unit.name], weight=unit.weight) == unit
    assert (application.capacity.service, application.policy.weight_strategy) == (hand_built.CAPACITY, "inverse-cost")
    assert application.policy.stickiness_capacity_s == hand_built.STICKY_S
    assert "spec.policy.weightStrategy" in text
    assert "which capacity mode may have adjusted" in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", Mode)
def test_a_rendered_stack_gives_back_the_file_that_it_was_rendered_from(name: str, mode: Mode) -> None:
    """For all values that the objects contain: decisions at rest are the same."""
    written = parsed(document(name)).to_policy()
    measured = {unit.counter_metric: Busiest(10.0, unit.latency_s) for unit in written.units}
    _, application = adopted(observation_of(example(name, mode)), measured, price="2.2350")  # AWS sells trn2 mostly as Capacity Blocks
    assert targets_at_rest(application, Mode.CAPACITY) == targets_at_rest(written, Mode.CAPACITY)
    if mode is Mode.COST:
        assert targets_at_rest(application, mode) == targets_at_rest(written, mode)
    same = (
        "backend",
        "deployment",
        "node_pool",
        "instance_type",
        "price_per_hour",
        "latency_s",
        "scaled_object",
        "min_replicas",
        "max_replicas",
    )
    metrics = ("counter_metric", "latency_metric", "framework", "device")
    wanted = {unit.name: unit for unit in written.units}
    for unit in application.units:
        for field in (*same, *metrics):
            assert getattr(unit, field) == getattr(wanted[unit.name], field), f"{field} of {unit.name}"
        assert unit.throughput == wanted[unit.name].throughput or mode is Mode.CAPACITY
    assert (application.metric_namespace, application.metric_period_s) == (written.metric_namespace, written.metric_period_s)
    assert application.policy.capacity_weights is written.policy.capacity_weights


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_a_stack_of_every_kind_of_workload_gives_its_file(kind: WorkloadKind) -> None:
    """Beside a LeaderWorkerSet its StatefulSet, beside a Rollout the Deployment of which it has its template: neither is a unit."""
    app = parsed(document("sd21")).to_policy()
    app = replace(app, units=tuple(replace(unit, workload_kind=kind) for unit in app.units))
    made: list[dict[str, Any]] = [manifests.ingress(app, Mode.COST, {}), *manifests.services(app)]
    for unit in app.units:
        workload = manifests.workload(app, unit, 2)
        made += [workload, manifests.scaled_object(app, unit, unit.throughput)]
        if kind is WorkloadKind.ROLLOUT:
            spec = workload["spec"]
            template = {**workload, "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"{unit.deployment}-template"}}
            made.append({**template, "spec": {**spec, "replicas": 0}})
            workload["spec"] = {"replicas": 2, "workloadRef": {"kind": "Deployment", "name": f"{unit.deployment}-template"}}
        if kind is WorkloadKind.LEADER_WORKER_SET:
            own = as_deployment(workload)
            labels = {"leaderworkerset.sigs.k8s.io/name": unit.deployment}
            made.append({**own, "kind": "StatefulSet", "metadata": {"name": unit.deployment, "labels": labels}})
    found = infer(observation_of(made), None, lambda *_: ({}, ""))
    for one, unit in zip(found.units, app.units, strict=True):
        named = (
            {"deployment": unit.deployment} if kind is WorkloadKind.DEPLOYMENT else {"workload": {"kind": kind, "name": unit.deployment}}
        )
        assert {key: one[key].value for key in ("deployment", "workload") if key in one} == named
        assert (one["nodePool"].value, one["scaledObject"].value) == (unit.node_pool, unit.scaled_object)
    assert f"workload: {{kind: {kind}, name: " in application_text(found, NOW) or kind is WorkloadKind.DEPLOYMENT


def test_notes_name_what_is_known_not_to_work_and_what_is_frozen() -> None:
    """Of the live pods: their images, flags and limits."""
    objects = example("llama8b")
    for one in objects:
        if one["kind"] == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                if container["name"] == "vllm" and one["metadata"]["name"] == "llama8b-inf2":
                    container["resources"]["limits"]["memory"] = "12Gi"
                elif container["name"] == "vllm" and one["metadata"]["name"] == "llama8b-trn2":
                    container["image"] = "x/huggingface-vllm-inference-neuronx:0.11.0-sdk2.26.1"
    notes = " ".join(infer(observation_of(objects), None, lambda *_: ({}, "")).notes)
    assert "llama8b-inf2: llama-3.1-8b on inf2 with huggingface-vllm-inference-neuronx:0.11.0" in notes
    assert "llama8b-inf2: memory of 12.0 GiB, needed is at least 33.9 GiB" in notes
    assert "llama8b-trn2: llama-3.1-8b on trn2 with huggingface-vllm-inference-neuronx:0.11.0-sdk2.26.1 is not known to work" in notes
    assert "llama8b-g6" not in notes


def test_the_file_is_the_same_for_the_same_observation() -> None:
    """Byte for byte."""
    assert adopted(hand_built_observation())[0] == adopted(hand_built_observation())[0]


def test_no_secret_reaches_the_file() -> None:
    """Variables are read by name, not copied."""
    assert "hf_not-to-be-shown" not in adopted(hand_built_observation())[0]


# --- what cannot be inferred --------------------------------------------------------------------------------------------------------------


def test_a_value_that_is_not_found_is_left_out_and_the_file_is_refused_until_it_is_filled_in() -> None:
    """Nothing is guessed instead: the loader names each field."""
    observed = hand_built_observation()
    observed.node_pools[POOLS["sd21-inf2"]]["spec"]["template"]["spec"]["requirements"][1]["values"] = ["inf3"]
    found = infer(observed, None, lambda *_: ({}, "CloudWatch could not be asked: no credentials"))
    text = application_text(found, NOW)
    absent, _ = unsure(found)
    assert absent[:2] == ["instanceType of sd21-inf2", "pricePerHour of sd21-inf2"]
    assert "latencySeconds of sd21-inf2, sd21-trn1, sd21-g5-triton, sd21-g6-triton, sd21-g5-cuda" in absent
    assert "# CloudWatch could not be asked: no credentials." in text
    with pytest.raises(ConfigError) as refused:
        parse_applications([Source("new.yaml", text.encode())])
    assert str(refused.value).count("found nothing") == 7
    assert "spec.units[0].instanceType: found nothing" in str(refused.value)


def test_without_a_capacity_service_it_describes_how_to_create_one() -> None:
    """It names the label that the pods of all units share."""
    text, application = adopted(hand_built_observation(capacity_service=False))
    assert application.capacity.service == "gradio-mix-ing-all"
    assert "create one with the selector {albapp: gradio-mix-alb}" in text
    assert "# CAPACITY MODE HAS NO SERVICE YET." in text
    observed = hand_built_observation(capacity_service=False)
    for one in observed.workloads.values():
        del one["spec"]["template"]["metadata"]["labels"]["albapp"]
    assert "give the pods of all units a common label" in adopted(observed)[0]


def test_a_floor_that_the_controller_wrote_is_to_be_checked() -> None:
    """In capacity mode it is several times that of normal operation: taken for it, those replicas would be paid for ever."""
    observed = hand_built_observation()
    owned = {"manager": "failoverctl", "fieldsV1": {"f:spec": {"f:minReplicaCount": {}}}}
    raised = [{**one, "metadata": {**one["metadata"], "managedFields": [owned]}} for one in observed.scaled_objects]
    assert "whose floor the controller has written: enter that of normal operation" in adopted(replace(observed, scaled_objects=raised))[0]
    assert "minReplicas of " in " ".join(unsure(infer(replace(observed, scaled_objects=raised), None, lambda *_: (LATENCIES, "")))[1])
    assert "minReplicas of " not in " ".join(unsure(infer(observed, None, lambda *_: (LATENCIES, "")))[1])


def test_a_kind_that_may_not_be_listed_is_named() -> None:
    """With the consequences."""
    observed = replace(hand_built_observation(), scaled_objects=[], unreadable={"scaledobjects.keda.sh": "403 forbidden"})
    found = infer(observed, None, lambda *_: ({}, ""))
    text = application_text(found, NOW)
    assert "# Could not be read: scaledobjects.keda.sh (403 forbidden)." in text
    assert "# throughput: ?  NOT FOUND: no ScaledObject scales the Deployment" in text


def test_of_several_triggers_on_cloudwatch_the_one_that_sums_up_counts_the_requests() -> None:
    """The target of a latency became the throughput, as if it had been certain."""
    observed = hand_built_observation()
    plain, _ = adopted(observed)
    for one in observed.scaled_objects:
        (own,) = one["spec"]["triggers"]
        latency = {"type": "aws-cloudwatch", "metadata": {"metricName": "p95", "metricStat": "p95", "targetMetricValue": "0.9"}}
        one["spec"]["triggers"] = [latency, own]
    assert adopted(observed)[0] == plain
    for one in observed.scaled_objects:
        metadata = one["spec"]["triggers"][1]["metadata"]
        metadata["expression"] = metadata["expression"].replace("SUM", "AVG")
    text = application_text(infer(observed, None, lambda *_: (LATENCIES, "")), NOW)
    assert "it has other triggers on CloudWatch: enter that of the unit's requests" in text


@pytest.mark.parametrize("said", ["line\nspec:\n  units: []", "a\r\n---\nkind: Application", "# x \x85 y\u2028z"])
def test_foreign_texts_stay_in_comments(said: str) -> None:
    """Texts of an API server, of annotations, of variables cannot add keys to the file."""
    observed = replace(hand_built_observation(), unreadable={"nodes": said})
    for one in observed.workloads.values():
        one["spec"]["template"]["spec"]["containers"][0]["env"][3]["value"] = said.replace("\n", " ").replace("\r", " ")
    found = infer(observed, None, lambda *_: (LATENCIES, said))
    (application,) = parse_applications([Source("new.yaml", application_text(found, NOW).encode())]).values()
    assert len(application.units) == 5


# --- which action -------------------------------------------------------------------------------------------------------------------------


def _with_rule(observed: Observation, action: str, value: str) -> Observation:
    backend = {"service": {"name": action, "port": {"name": "use-annotation"}}}
    rule = {"host": "other.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {**observed.obj["spec"], "rules": [*observed.obj["spec"]["rules"], rule]}
    made = replace(observed, obj={**observed.obj, "spec": spec})
    return annotated(made, **{action_key(action): value})


def test_the_weighted_action_is_chosen() -> None:
    """Among a redirect and an action to a single Service."""
    observed = _with_rule(hand_built_observation(), "ssl-redirect", '{"type":"redirect"}')
    observed = _with_rule(observed, "docs", format_action([Target("docs", 80, 1)], 0))
    assert adopted(observed)[1].route.part == "weighted-routing"


def test_of_several_candidates_a_person_must_choose() -> None:
    """They are listed."""
    targets = [Target("a", 80, 1), Target("b", 80, 1)]
    observed = _with_rule(hand_built_observation(), "other", format_action(targets, 0))
    with pytest.raises(ConfigError, match="weighted-routing, other; name one with --action"):
        infer(observed, None, lambda *_: ({}, ""))
    assert adopted(observed, action="weighted-routing")[1].route.part == "weighted-routing"
    with pytest.raises(ConfigError, match="the Ingress has no action 'nope' that clients reach; there are: weighted-routing, other"):
        infer(observed, "nope", lambda *_: ({}, ""))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("{", "action weighted-routing: the action is not JSON", id="malformed"),
        pytest.param('{"type":"redirect"}', "not 'forward'", id="a redirect"),
        pytest.param('{"type":"forward","targetGroupARN":"arn"}', "no forwardConfig", id="a target group of somebody else's"),
    ],
)
def test_an_invalid_action_is_refused(value: str, message: str) -> None:
    """The error names the fault."""
    with pytest.raises(ConfigError, match=message):
        infer(annotated(hand_built_observation(), **{ACTION: value}), None, lambda *_: ({}, ""))


def test_an_ingress_without_an_action_is_refused() -> None:
    """The controller could change no routing."""
    observed = hand_built_observation()
    observed.obj["spec"]["rules"][0]["http"]["paths"][0]["backend"] = {"service": {"name": "sd21-inf2", "port": {"number": 80}}}
    with pytest.raises(ConfigError, match="could change no routing"):
        infer(observed, None, lambda *_: ({}, ""))


def test_a_marker_of_capacity_mode_beside_five_services_means_in_place() -> None:
    """The controller wrote it, with the other routing style."""
    _, application = adopted(annotated(hand_built_observation(), **{MARKER: "capacity"}))
    assert application.routing_style is RoutingStyle.IN_PLACE


def test_weights_are_taken_from_an_action_kept_for_standby() -> None:
    """In capacity mode, if another action names the same five Services."""
    observed = replace(hand_built_observation(), obj=hand_built.ingress("shop", capacity=True))
    kept = hand_built.ingress("shop")["metadata"]["annotations"][ACTION]
    text, application = adopted(annotated(observed, **{action_key("standby-cost"): kept}))
    assert {unit.name: unit.weight for unit in application.units}["sd21-inf2"] == 40
    assert "action standby-cost, which names the same Services" in text


# --- nodes --------------------------------------------------------------------------------------------------------------------------------


def _running(name: str, node: str) -> dict[str, Any]:
    labels = {"app": hand_built.deployment_name(name)}
    return {"kind": "Pod", "metadata": {"name": f"{name}-1", "labels": labels}, "spec": {"nodeName": node}}


def _claim(node: str, pool: str, instance_type: str) -> dict[str, Any]:
    labels = {"karpenter.sh/nodepool": pool, "node.kubernetes.io/instance-type": instance_type}
    return {"kind": "NodeClaim", "metadata": {"name": node, "labels": labels}, "status": {"nodeName": node}}


def _unpinned(observed: Observation, name: str, **selector: str) -> Observation:
    spec = observed.workloads[Owner("Deployment", hand_built.deployment_name(name))]["spec"]["template"]["spec"]
    spec["nodeSelector"] = selector
    return observed


def test_the_nodes_of_running_pods_determine_pool_and_type() -> None:
    """If nothing pins the pods."""
    objects = [*hand_built.stack("shop"), _running("sd21-inf2", "n1"), _claim("n1", POOLS["sd21-inf2"], "inf2.24xlarge")]
    found = infer(_unpinned(observation_of(objects), "sd21-inf2"), None, lambda *_: (LATENCIES, "")).units[0]
    assert (found["nodePool"].value, found["instanceType"].value) == (POOLS["sd21-inf2"], "inf2.24xlarge")
    assert found["pricePerHour"].value == round(6.4906 / 6, 4), "a replica's share of the node"
    assert "nothing pins them to it" in found["nodePool"].origin


def test_what_else_a_pool_of_a_family_may_launch_is_said_where_pods_run() -> None:
    """They count as the unit's capacity, so a person should know of them."""
    observed = observation_of([*hand_built.stack("shop"), _running("sd21-inf2", "n1"), _claim("n1", POOLS["sd21-inf2"], "inf2.8xlarge")])
    asked = [{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["inf2"]}]
    observed.node_pools[POOLS["sd21-inf2"]]["spec"]["template"]["spec"]["requirements"] = asked
    fact = infer(_unpinned(observed, "sd21-inf2"), None, lambda *_: (LATENCIES, "")).units[0]["instanceType"]
    assert (fact.value, fact.sure) == ("inf2.8xlarge", True)
    assert "may also launch inf2.xlarge, inf2.24xlarge, inf2.48xlarge for them" in fact.origin


def test_pods_on_nodes_of_two_pools_have_no_pool() -> None:
    """A unit has one NodePool; the file names both."""
    second = _running("sd21-inf2", "n2")
    second["metadata"]["name"] = "other"
    claims = [_claim("n1", POOLS["sd21-inf2"], "inf2.xlarge"), _claim("n2", POOLS["sd21-trn1"], "trn1.2xlarge")]
    objects = [*hand_built.stack("shop"), _running("sd21-inf2", "n1"), second, *claims]
    found = infer(_unpinned(observation_of(objects), "sd21-inf2"), None, lambda *_: (LATENCIES, "")).units[0]
    assert found["nodePool"].value is None
    assert f"{POOLS['sd21-inf2']}, {POOLS['sd21-trn1']}" in found["nodePool"].origin


def _in_auto_mode(observed: Observation) -> Observation:
    """The same NodePools as one writes them for EKS Auto Mode: under its labels, and with a NodeClass of its own."""
    for one in observed.node_pools.values():
        spec = one["spec"]["template"]["spec"]
        spec["requirements"] = [
            {**one, "key": one["key"].replace("karpenter.k8s.aws", "eks.amazonaws.com")} for one in spec["requirements"]
        ]
        spec["nodeClassRef"] = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}
    return observed


def test_a_stack_on_auto_mode_gives_the_same_file() -> None:
    """NodePools by family: the pods' NodePool is known, and the smallest type of the family is assumed where none runs."""
    _, written = adopted(hand_built_observation())
    text, auto = adopted(_in_auto_mode(hand_built_observation()))
    assert [(one.node_pool, one.instance_type) for one in auto.units] == [(one.node_pool, one.instance_type) for one in written.units]
    assert "the smallest that NodePool" in text
    assert "karpenter.k8s.aws" not in str(_in_auto_mode(hand_built_observation()).node_pools)


@pytest.mark.parametrize(
    ("selector", "value", "said"),
    [
        ({"karpenter.k8s.aws/instance-gpu-name": "a10g"}, "g5.xlarge", "may also launch g5.2xlarge, g5.4xlarge"),
        ({"karpenter.k8s.aws/instance-gpu-name": "l4"}, "g6.xlarge", "the smallest that NodePool"),
        ({}, None, "launches g5, g6, none of which its pods pin"),
    ],
)
def test_the_type_out_of_a_pool_of_two_families(selector: dict[str, str], value: str | None, said: str) -> None:
    """As the AWS sample has it, A10G and L4 in one NodePool: the pods say which, the smallest is assumed, and the file says from what."""
    observed = hand_built_observation()
    pool = POOLS["sd21-g5-triton"]
    asked = [{"key": "karpenter.k8s.aws/instance-gpu-name", "operator": "In", "values": ["a10g", "l4"]}]
    observed.node_pools[pool]["spec"]["template"]["spec"]["requirements"] = asked
    found = infer(_unpinned(observed, "sd21-g5-triton", **{"karpenter.sh/nodepool": pool}, **selector), None, lambda *_: (LATENCIES, ""))
    fact = next(one for one in found.units if one["name"].value == "sd21-g5-triton")["instanceType"]
    assert fact.value == value
    assert said in fact.origin


@pytest.mark.parametrize(
    ("selector", "pool"),
    [
        pytest.param({"eks.amazonaws.com/instance-family": "inf2"}, POOLS["sd21-inf2"], id="family"),
        pytest.param({"eks.amazonaws.com/instance-gpu-name": "of-tomorrow"}, None, id="a GPU that is not known"),
    ],
)
def test_pods_that_select_by_the_labels_of_auto_mode(selector: dict[str, str], pool: str | None) -> None:
    """Nothing else pins them."""
    found = infer(_unpinned(_in_auto_mode(hand_built_observation()), "sd21-inf2", **selector), None, lambda *_: (LATENCIES, "")).units[0]
    assert found["nodePool"].value == pool


@pytest.mark.parametrize(
    ("selector", "pool"),
    [
        pytest.param({"karpenter.k8s.aws/instance-family": "inf2"}, POOLS["sd21-inf2"], id="family"),
        pytest.param({"eks.amazonaws.com/instance-family": "inf2"}, POOLS["sd21-inf2"], id="family in EKS Auto Mode"),
        pytest.param({"eks.amazonaws.com/compute-type": "auto"}, None, id="fits all of EKS Auto Mode"),
        pytest.param({"kubernetes.io/arch": "amd64"}, None, id="fits all"),
        pytest.param({"team": "a"}, None, id="a label that no pool gives"),
    ],
)
def test_without_running_pods_the_only_pool_that_fits_is_assumed(selector: dict[str, str], pool: str | None) -> None:
    """If several fit, or none, none is chosen."""
    found = infer(_unpinned(hand_built_observation(), "sd21-inf2", **selector), None, lambda *_: (LATENCIES, "")).units[0]["nodePool"]
    assert (found.value, found.sure) == (pool, False)
