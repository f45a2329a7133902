"""vLLM in a unit's pods: the model server's adapter replaces the model server, and the engine gets the accelerator.

Images, flags and variables are those of the matrix (docs/images.md, vLLM for the language models).
"""

from __future__ import annotations

import math
from typing import Final

from controller.catalog.instances import family_of
from controller.objects import quantity
from failover_setup.application import UnitFile
from failover_setup.matrix import GIB, Case, Engine, engine_of, flags_of, matrix
from failover_setup.rendering.parts import CACHE, HEALTH, PROBE_S, RESTRICTED, Object, allowed_types, resources
from failover_setup.stack import VllmFile

ENGINE_PORT: Final = 8001
"""vLLM's port, the adapter's default."""
ENGINE_END_S: Final = 10
"""Time from the end of the engine's pre-stop hook until it has ended, seconds."""

_ENGINE_PORT_NAME: Final = "openai"
_MODEL: Final = f"{CACHE}/current"
_USER: Final = 65532  # the adapter image's: both use the files of one volume
_FETCH: Final = frozenset({"MODEL", "REVISION", "CACHE_DIR", "DOWNLOAD_TIMEOUT"})

TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the hub's token. Only the init container that fetches the model has it."""

ADAPTER_RESOURCES: Final[Object] = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}
BODY_LIMIT: Final[Object] = {"name": "MODEL_SERVER_MAX_BODY_BYTES", "value": str(2 * 1024 * 1024)}
"""What the adapter reads of a request: as JSON objects the 8 MiB of the model server take up to 240 MiB, this a quarter of that."""
_FETCH_RESOURCES: Final[Object] = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}

VOLUME: Final[Object] = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
"""The shared memory of the engine's processes."""


def fetching(image: str | None, variables: list[Object]) -> Object:
    """The init container that fetches the needed files of the model and verifies them. vLLM itself runs offline, without the token.

    Args:
        image: The adapter's image.
        variables: The variables of the adapter's container; it uses those that concern the model.
    """
    wanted = {f"MODEL_SERVER_{name}" for name in _FETCH} | {TOKEN, "AWS_REGION"}
    return {
        "name": "model",
        "image": image,
        "args": ["download", "--link", _MODEL],
        "env": [one for one in variables if one["name"] in wanted],
        "resources": _FETCH_RESOURCES,
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "cache", "mountPath": CACHE}],
    }


def engine(unit: UnitFile, profile: VllmFile, resources: Object, *, region: str, load_s: int, outlast_s: int) -> Object:
    """The container of vLLM.

    Args:
        unit: The unit.
        profile: Its vLLM settings.
        resources: The unit's resources, accelerators included.
        region: AWS region of the compile cache.
        load_s: Longest time until it is ready, seconds.
        outlast_s: How long the adapter may run after the pod's deletion, seconds; it needs the engine until then.
    """
    healthy = {"httpGet": {"path": HEALTH, "port": _ENGINE_PORT_NAME}, "periodSeconds": PROBE_S, "timeoutSeconds": 5}
    return {
        "name": "vllm",
        "image": profile.image or engine_for(unit, profile).image,
        # Replaces the image's entry point, which would not forward SIGTERM.
        "command": ["vllm", "serve", _MODEL],
        "args": [
            "--served-model-name=model",
            f"--port={ENGINE_PORT}",
            *arguments(unit, profile),
        ],
        "env": [{"name": name, "value": value} for name, value in {**_environment(unit, profile, region), **profile.env}.items()],
        "ports": [{"name": _ENGINE_PORT_NAME, "containerPort": ENGINE_PORT}],
        "startupProbe": {**healthy, "failureThreshold": math.ceil(2 * load_s / PROBE_S)},
        "livenessProbe": {**healthy, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": outlast_s}}},
        "resources": resources,
        "securityContext": {**RESTRICTED, "runAsUser": _USER},
        "volumeMounts": [{"name": "cache", "mountPath": CACHE}, {"name": VOLUME["name"], "mountPath": "/dev/shm"}],  # noqa: S108 - a mount
    }


def engine_for(unit: UnitFile, profile: VllmFile) -> Engine:
    """The engine of a unit: that of its image, else its device's default; without flags where neither is known."""
    family = family_of(unit.instance_type)
    found = engine_of(unit.framework, family, profile.image or "", vllm=True) or engine_of(unit.framework, family, vllm=True)
    return found[1] if found is not None else Engine(framework=unit.framework)


def arguments(unit: UnitFile, profile: VllmFile) -> list[str]:
    """The flags of context, device and file. On Neuron shapes are static: batch and context are compiled for all cores of the pod."""
    values = _values(unit, profile)
    made = (one.format(**values) for one in engine_for(unit, profile).flags)
    return [f"--max-model-len={profile.max_model_len}", *made, *profile.args]


def _values(unit: UnitFile, profile: VllmFile) -> dict[str, object]:
    """What the matrix leaves open in flags and variables."""
    count, known = unit.stack.accelerators, matrix().accelerators.get(family_of(unit.instance_type))
    cores = count * known.cores if known is not None else count
    return {"accelerators": count, "cores": cores, "context": profile.max_model_len, "folder": CACHE}


def case_of(unit: UnitFile, model: str) -> Case:
    """What a unit's pods run, for the matrix."""
    profile = unit.stack.vllm
    if profile is None:
        return Case(model or unit.stack.compiled_model, allowed_types(unit), unit.framework, accelerators=unit.stack.accelerators)
    memory = quantity(resources(unit)["limits"]["memory"])
    return Case(
        model,
        allowed_types(unit),
        unit.framework,
        profile.image or engine_for(unit, profile).image,
        flags_of(arguments(unit, profile)),
        unit.stack.accelerators,
        float(memory or 0) / GIB,
    )


def _environment(unit: UnitFile, profile: VllmFile, region: str) -> dict[str, str]:
    """Variables of the engine. HOME and USER are set because the user has no passwd entry; caches go to the cache volume."""
    engine, values = engine_for(unit, profile), _values(unit, profile)
    made = {"HOME": CACHE, "USER": "model-server", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    made |= {name: value.format(**values) for name, value in engine.environment.items()}
    return made | ({engine.cache: profile.compile_cache, "AWS_REGION": region} if profile.compile_cache else {})
