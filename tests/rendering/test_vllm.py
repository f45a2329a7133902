"""Units that vLLM serves: their pods, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.images.catalog import load
from tests.support.stacks import document, example, objects_of, parsed

RESOURCES = {"cuda": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuron"}
SERVED = [("llama", name) for name in ("llama-inf2", "llama-trn1", "llama-g5-cuda", "llama-g6-cuda")]
SERVED += [("llama8b", name) for name in ("llama8b-inf2", "llama8b-trn2", "llama8b-g6-cuda", "llama8b-g6e-cuda")]
SERVED += [("mistral", name) for name in ("mistral-g5-cuda", "mistral-g6-cuda")]


def _pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"}


def _containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (*pod.get("initContainers", ()), *pod["containers"])}


def _variables(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


@pytest.fixture(params=SERVED, ids=[name for _, name in SERVED])
def pod(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The pod of one unit of the examples that vLLM serves."""
    stack, name = request.param
    return _pods(example(stack))[name]


def _framework(pod: dict[str, Any]) -> str:
    return str(_variables(_containers(pod)["server"])["MODEL_SERVER_BACKEND"])


def test_every_unit_of_a_language_model_is_served_by_vllm() -> None:
    """The model server has no text generation of its own."""
    for stack in ("llama", "llama8b", "mistral"):
        assert all("vllm" in _containers(pod) for pod in _pods(example(stack)).values())


def test_only_the_engine_gets_the_accelerator(pod: dict[str, Any]) -> None:
    """One container requests it; two would not fit on the node."""
    resource = RESOURCES[_framework(pod)]
    assert [name for name, one in _containers(pod).items() if resource in one["resources"]["limits"]] == ["vllm"]


def test_the_adapter_replaces_the_model_server(pod: dict[str, Any]) -> None:
    """Name, ports, probes and variables are those of a model server: Services, load balancer and counters stay the same."""
    server = pod["containers"][0]
    assert (server["name"], server["args"]) == ("server", ["adapter"])
    assert server["startupProbe"]["httpGet"]["path"] == server["readinessProbe"]["httpGet"]["path"] == "/readiness"
    assert {port["name"] for port in server["ports"]} >= {"http"}
    assert "MODEL_SERVER_APP" in _variables(server)


def test_only_the_init_container_fetches_the_model(pod: dict[str, Any]) -> None:
    """To the engine's path, at the commit of the file; the engine is offline, and only the init container has the token."""
    containers = _containers(pod)
    fetch, engine = containers["model"], containers["vllm"]
    assert fetch["args"][-1] == engine["command"][-1]
    assert fetch["image"] == containers["server"]["image"]
    assert len(_variables(fetch)["MODEL_SERVER_REVISION"] or "") == 40
    online = "huggingface-vllm" in engine["image"]  # optimum-neuron reads compiled graphs from the hub
    assert _variables(engine)["HF_HUB_OFFLINE"] == ("0" if online else "1")
    assert [name for name, one in containers.items() if "HF_TOKEN" in _variables(one)] == ["model"]
    assert all({"name": "cache", "mountPath": "/var/cache/model-server"} in one["volumeMounts"] for one in (fetch, engine))


@pytest.mark.parametrize("request_s", [60, 300])
def test_the_engine_outlives_the_adapter(request_s: int) -> None:
    """Its preStop covers the adapter's, drain and longest request, within the grace period; its port is the adapter's default."""
    values = document("llama")
    values["spec"]["stack"]["requestSeconds"] = request_s
    for pod in _pods(objects_of(parsed(values))).values():
        server, engine = pod["containers"]
        variables = _variables(server)
        own = server["lifecycle"]["preStop"]["sleep"]["seconds"] + int(variables["MODEL_SERVER_DRAIN_SECONDS"])
        needed = own + int(variables["MODEL_SERVER_FINISH_SECONDS"])
        assert needed >= own + request_s
        assert needed < engine["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]
        assert "--port=8001" in engine["args"]


def test_pods_are_restricted(pod: dict[str, Any]) -> None:
    """Non-root with a number, no privilege escalation, no capabilities, in every container."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in _containers(pod).values():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert _containers(pod)["vllm"]["securityContext"]["runAsUser"] == 65532


def test_the_engines_image_is_that_of_the_list(pod: dict[str, Any]) -> None:
    """By tag, and by digest if images.yaml states it."""
    engines = {"cuda": {"vllm-cuda"}, "neuron": {"vllm-optimum", "vllm-plugin"}}[_framework(pod)]
    assert _containers(pod)["vllm"]["image"] in {load().bases[name].reference for name in engines}


def test_shapes_are_compiled_for_all_cores_and_cached() -> None:
    """Two NeuronCores per device; the cache is in the application's region. A GPU needs neither."""
    pods = _pods(example("llama"))
    neuron, cuda = (_containers(pods[name])["vllm"] for name in ("llama-inf2", "llama-g5-cuda"))
    assert "--tensor-parallel-size=2" in neuron["args"]
    assert _variables(neuron)["NEURON_COMPILE_CACHE_URL"] == "s3://your-bucket/neuron-cache/llama"
    assert _variables(neuron)["AWS_REGION"] == "us-west-2"
    assert not {"NEURON_COMPILE_CACHE_URL", "AWS_REGION"} & {*_variables(cuda)}


def test_trainium2_is_served_by_the_plugin_with_its_flags() -> None:
    """Four cores of a device, what the plugin's authors measured with, and time to compile in each pod."""
    pod = _pods(example("llama8b"))["llama8b-trn2"]
    engine = _containers(pod)["vllm"]
    assert {"--tensor-parallel-size=4", "--no-enable-prefix-caching", "--max-num-batched-tokens=8192"} <= set(engine["args"])
    assert '--additional-config={"neuron_config": {"quantization": "bf16"}}' in engine["args"]
    assert _variables(engine)["NEURON_COMPILED_ARTIFACTS"].startswith("/var/cache/model-server/")
    assert engine["startupProbe"]["failureThreshold"] * engine["startupProbe"]["periodSeconds"] == 3600
    assert engine["resources"]["limits"]["aws.amazon.com/neuron"] == "1"


def test_a_units_own_flags_and_variables_take_precedence() -> None:
    """Flags come last, and vLLM uses the last one; variables replace the rendered ones."""
    values = document("llama")
    profile = {"maxModelLen": 16384, "args": ["--gpu-memory-utilization=0.8"], "env": {"HOME": "/tmp"}, "image": "own/vllm:1"}
    values["spec"]["units"][2]["stack"]["vllm"] = profile
    engine = _containers(_pods(objects_of(parsed(values)))["llama-g5-cuda"])["vllm"]
    assert "--max-model-len=16384" in engine["args"]
    assert engine["args"][-1] == "--gpu-memory-utilization=0.8"
    assert (_variables(engine)["HOME"], engine["image"]) == ("/tmp", "own/vllm:1")
