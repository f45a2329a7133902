"""An application that cannot be rendered is refused, with the field named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from failover_setup.rendering.faults import faults
from tests.support.stacks import document, objects_of, parsed

Place = tuple[str | int, ...]

# As Kubernetes has them: apimachinery's validation of names, of the keys of labels and of their values.
_PART: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_PART}(\.{_PART})*")
_LABEL_KEY: Final = re.compile(rf"({_NAME.pattern}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LABELS_ELSEWHERE: Final = frozenset({"NodePool", "EC2NodeClass", "Namespace", "Service"})
"""Kinds whose name is the value of a label, of nodes or of other objects, or whose own rule is as short."""


def _changed(changes: dict[Place, Any], name: str = "sd21") -> dict[str, Any]:
    """An application of `config/` with values set (or, with None, removed) at places below `spec`."""
    values = document(name)
    for place, value in changes.items():
        node: Any = values["spec"]
        for step in place[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        if value is None:
            node.pop(place[-1])
        else:
            node[place[-1]] = value
    return values


def _rendered(values: dict[str, Any], tmp_path: Path) -> tuple[int, str]:
    path = tmp_path / "sd21.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    result = CliRunner().invoke(main, ["render", str(path)])
    return result.exit_code, result.output


CASES = [
    pytest.param({("stack",): None}, "spec.stack: found nothing; allowed: a mapping with cluster", id="no stack at all"),
    pytest.param({("stack", "cluster"): None}, "spec.stack.cluster: found nothing", id="no cluster"),
    pytest.param({("units", 2, "framework"): "neuron"}, 'spec.units[2].instanceType: found "g5.xlarge"', id="neuron on NVIDIA"),
    pytest.param({("units", 0, "framework"): "cuda"}, 'spec.units[0].instanceType: found "inf2.xlarge"', id="cuda on Neuron"),
    pytest.param(
        {("units", 2, "instanceTypes"): ["g5.xlarge", "trn1.2xlarge"]}, "spec.units[2].instanceTypes[1]", id="one type of the wrong make"
    ),
    pytest.param({("units", 0, "framework"): "tensorrt"}, "spec.units[0].framework", id="a framework that no image has"),
    pytest.param({("units", 0, "device"): "trn1"}, "spec.units[0].device", id="a device that is another family"),
    pytest.param({("stack", "images", "neuron"): None}, "spec.units[0].stack.image: found nothing", id="missing image"),
    pytest.param({("stack", "model"): None}, "spec.units[2].stack.model: found nothing", id="missing model"),
    pytest.param({("units", 1, "stack", "compiledModel"): None}, "spec.units[1].stack.compiledModel: found nothing", id="nothing compiled"),
    pytest.param({("units", 2, "stack", "compiledModel"): "s3://b/c"}, "spec.units[2].stack.compiledModel", id="compiled for a GPU"),
    pytest.param({("stack", "revision"): None}, "spec.units[2].stack.revision: found", id="a hub model without a commit"),
    pytest.param(
        {("stack", "model"): "org/repo", ("stack", "revision"): "main"}, 'spec.units[2].stack.revision: found "main"', id="at a branch"
    ),
    pytest.param(
        {("units", 0, "stack", "compiledModel"): "hf://org/repo"}, "spec.units[0].stack.compiledRevision", id="compiled, without a commit"
    ),
    pytest.param({("units", 0, "stack", "accelerators"): 2}, "spec.units[0].stack.accelerators: found 2", id="more than the type has"),
    pytest.param({("units", 0, "instanceType"): "inf1.xlarge"}, "spec.units[0].stack.cpu: found nothing", id="a type of unknown size"),
    pytest.param({("units", 2, "nodePool"): "amd-neuron-inf2"}, "spec.units[2].nodePool", id="two makes in one NodePool"),
    pytest.param({("units", 0, "counterMetric"): "requests"}, "spec.units[0].counterMetric", id="a counter that the server does not write"),
    pytest.param({("units", 0, "latencyMetric"): "p95"}, "spec.units[0].latencyMetric", id="a latency that the server does not write"),
    pytest.param({("metrics", "namespace"): None}, "spec.metrics.namespace", id="KEDA without a namespace"),
    pytest.param(
        {("stack", "loadBalancer", "annotations"): {"alb.ingress.kubernetes.io/actions.weighted-routing": "{}"}},
        "spec.stack.loadBalancer.annotations",
        id="an annotation that the controller owns",
    ),
    pytest.param(
        {("units", 0, "stack", "capacityTypes"): ["reserved"]}, "spec.units[0].stack.reservations: found nothing", id="reserved, but what?"
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{"id": "cr-1"}], ("units", 0, "stack", "capacityTypes"): ["spot"]},
        "spec.units[0].stack.capacityTypes: found spot",
        id="reservations that nothing may use",
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{"id": "cr-1"}], ("stack", "nodes"): {"render": False}},
        "spec.units[0].stack.reservations: found 1",
        id="reservations without a node class",
    ),
    pytest.param(
        {("units", 1, "nodePool"): "amd-neuron-inf2", ("units", 1, "stack", "capacityTypes"): ["reserved"]}
        | {("units", 1, "stack", "reservations"): [{"id": "cr-1"}]},
        "spec.units[1].stack.capacityTypes: found reserved",
        id="one NodePool with two kinds of capacity",
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{"id": f"cr-{number}"} for number in range(20)]}
        | {("units", 1, "stack", "reservations"): [{"id": f"cr-{number}"} for number in range(11)]},
        "spec.units[1].stack.reservations: found 31",
        id="more terms than a node class takes",
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{}]}, "spec.units[0].stack.reservations[0].id", id="a reservation without id and tags"
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{"id": "cr-1", "tags": {"a": "b"}}]},
        "spec.units[0].stack.reservations[0].id: found both",
        id="a reservation by two ways",
    ),
    pytest.param(
        {("units", 0, "stack", "reservations"): [{"id": "cr-1", "ownerId": "123456789012"}]},
        "spec.units[0].stack.reservations[0].ownerId",
        id="an owner beside an id",
    ),
    pytest.param({("units", 0, "scaledObject"): "a" * 55}, "spec.units[0].scaledObject", id="a name that KEDA makes too long"),
    pytest.param({("units", 0, "deployment"): "a.b"}, "spec.units[0].deployment", id="a Deployment that is no label"),
    pytest.param({("units", 0, "nodePool"): "p" * 64}, "spec.units[0].nodePool: found", id="a NodePool that is no label's value"),
    pytest.param({("units", 0, "stack", "memory"): "12000000K"}, "allowed: a quantity of Kubernetes", id="thousands as nobody writes them"),
    pytest.param({("units", 0, "stack", "memory"): "12 Gi"}, "allowed: a quantity of Kubernetes", id="a quantity with a blank"),
    pytest.param(
        {("stack", "nodes"): {"discoveryTags": {"team": ""}}},
        'spec.stack.nodes.discoveryTags.team: found "" (text); allowed: text of 1 to 256 characters',
        id="a tag without a value",
    ),
    pytest.param(
        {("stack", "nodes"): {"discoveryTags": {"": "x"}}},
        'found the key "" (text); allowed: text of 1 to 256 characters',
        id="a tag without a key",
    ),
    pytest.param(
        {("stack", "loadBalancer", "annotations"): {"alb.ingress.kubernetes.io/certificate arn": "x"}},
        'found the key "alb.ingress.kubernetes.io/certificate arn" (text); allowed: the key of a label or an annotation',
        id="an annotation that is no key",
    ),
    pytest.param({("stack", "sharedLabel"): "a..b/c"}, "spec.stack.sharedLabel: found", id="a label whose prefix is no name"),
    pytest.param({("units", 0, "stack", "env"): {"A B": "x"}}, 'found the key "A B" (text); allowed: a variable', id="no variable's name"),
]


@pytest.mark.parametrize(("changes", "message"), CASES)
def test_it_is_refused_with_the_field_named(changes: dict[Place, Any], message: str, tmp_path: Path) -> None:
    """With file and line. Nothing is printed that could be applied."""
    code, output = _rendered(_changed(changes), tmp_path)
    assert code == 1
    assert message in output
    assert f"{tmp_path}/sd21.yaml:" in output
    assert "apiVersion" not in output


def test_a_name_that_makes_a_label_too_long_is_refused(tmp_path: Path) -> None:
    """Karpenter labels nodes with the name of their EC2NodeClass, which begins with the application's."""
    values = document()
    values["metadata"]["name"] = "s" * 57
    code, output = _rendered(values, tmp_path)
    assert code == 1
    assert "metadata.name: found" in output
    assert "allowed: at most 56 characters" in output
    values["spec"]["stack"]["nodes"] = {"render": False}
    assert _rendered(values, tmp_path)[0] == 0


def test_the_longest_names_that_are_allowed_make_a_stack_that_kubernetes_accepts() -> None:
    """Whatever is made of them: names, labels and what selects nodes."""
    values = document()
    values["metadata"] |= {"name": "s" * 56, "namespace": "n" * 63}
    values["spec"] |= {"ingress": "i" * 253, "capacityService": {"name": "c" * 63, "port": 80}}
    values["spec"]["stack"] |= {"sharedLabel": f"{'p' * 189}/{'l' * 63}"}
    for index, unit in enumerate(values["spec"]["units"]):
        pool = "q" if unit["nodePool"] == "amd-nvidia-a10g" else str(index)
        unit |= {"nodePool": pool * 63, "deployment": f"{'d' * 62}{index}", "scaledObject": f"{'o' * 53}{index}"}
        unit |= {"service": {"name": f"{'v' * 62}{index}", "port": 80}, "counterMetric": f"{'m' * 246}{index}-counter"}
        unit |= {"latencyMetric": f"{'m' * 246}{index}-latency"}
    model = parsed(values)
    assert list(faults(model)) == []
    for one in objects_of(model):
        assert _NAME.fullmatch(one["metadata"]["name"])
        assert len(one["metadata"]["name"]) <= (63 if one["kind"] in _LABELS_ELSEWHERE else 253)
        for key, value in _labels(one):
            assert _LABEL_KEY.fullmatch(key), key
            assert _LABEL_VALUE.fullmatch(value), value
            assert len(value) <= 63, value


def _labels(node: Any) -> Iterator[tuple[str, str]]:
    """Every label of an object, its templates and its selectors."""
    if isinstance(node, dict):
        for name, below in node.items():
            if name in {"labels", "matchLabels", "nodeSelector", "selector"} and all(isinstance(one, str) for one in below.values()):
                yield from below.items()
            else:
                yield from _labels(below)
    elif isinstance(node, list):
        for below in node:
            yield from _labels(below)


def test_a_sixth_target_group_is_refused(tmp_path: Path) -> None:
    """AWS allows five in an action."""
    values = document()
    sixth = {**values["spec"]["units"][4], "name": "x", "service": {"name": "x", "port": 80}, "deployment": "x", "scaledObject": "x"}
    values["spec"]["units"].append({**sixth, "counterMetric": "x-counter", "latencyMetric": "x-latency"})
    code, output = _rendered(values, tmp_path)
    assert code == 1
    assert "spec.units: found a list of 6; allowed: a list of 1 to 5 entries" in output


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    code, output = _rendered(_changed({("stack", "images"): {}, ("units", 1, "stack"): None}), tmp_path)
    assert code == 1
    assert output.count("found nothing") == 6


def test_a_type_that_is_not_listed_can_be_rendered_with_its_size_stated(tmp_path: Path) -> None:
    """The list of types is a convenience, not a limit."""
    own = {"image": "x", "compiledModel": "s3://b/c", "cpu": "2", "memory": "4Gi"}
    changes: dict[Place, Any] = {("units", 0, "instanceType"): "inf3.xlarge", ("units", 0, "stack"): own, ("units", 0, "device"): "inf3"}
    code, output = _rendered(_changed(changes), tmp_path)
    assert code == 0, output


def test_a_file_of_several_applications_is_refused(tmp_path: Path) -> None:
    """A stack is one application."""
    other = document("bert")
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([document(), other]))
    result = CliRunner().invoke(main, ["render", str(path)])
    assert (result.exit_code, "found 2 applications" in result.output) == (1, True)


VLLM_CASES = [
    pytest.param({("stack", "task"): "text-classification"}, "spec.units[0].stack.vllm: found a mapping", id="another task"),
    pytest.param({("units", 2, "framework"): "triton"}, 'spec.units[2].framework: found "triton"', id="torch.compile"),
    pytest.param(
        {("units", 0, "stack", "compiledModel"): "s3://b/c"}, "spec.units[0].stack.compiledModel", id="compiled for optimum-neuron"
    ),
    pytest.param({("units", 1, "stack", "vllm"): {}}, "spec.units[1].stack.vllm.compileCache: found nothing", id="compiles in every pod"),
    pytest.param({("units", 2, "stack", "vllm", "compileCache"): "s3://b/c"}, "spec.units[2].stack.vllm.compileCache", id="a GPU's cache"),
    pytest.param(
        {("units", 0, "stack", "vllm", "compileCache"): "b/c"}, "spec.units[0].stack.vllm.compileCache", id="no place for a cache"
    ),
    pytest.param({("stack", "images", "adapter"): None}, "as spec.stack.images.adapter", id="no adapter"),
    pytest.param({("units", 0, "stack", "vllm"): None}, "spec.units[0].stack.vllm: found nothing", id="without vLLM"),
    pytest.param({("stack", "revision"): "main"}, 'spec.units[0].stack.revision: found "main"', id="at a branch"),
    pytest.param({("units", 2, "stack", "vllm", "maxModelLen"): 1}, "spec.units[2].stack.vllm.maxModelLen", id="a context of one token"),
]


@pytest.mark.parametrize(("changes", "message"), VLLM_CASES)
def test_a_unit_that_vllm_cannot_serve_is_refused(changes: dict[Place, Any], message: str, tmp_path: Path) -> None:
    """With the field named."""
    code, output = _rendered(_changed(changes, "llama"), tmp_path)
    assert code == 1
    assert message in output
