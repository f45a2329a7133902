"""Checks that a valid application file is complete enough to render a stack. Each fault names its field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from controller.catalog.instances import FRAMEWORKS, INSTANCES, Maker, family_of, maker_of
from controller.documents import Fault, Place, describe_value
from controller.routing.annotations import OURS
from controller.routing.kinds import routing_port
from failover_setup.application import ApplicationFile, UnitFile
from failover_setup.matrix import Status, shortfalls, verdicts
from failover_setup.rendering.nodes import class_name
from failover_setup.rendering.parts import allowed_types
from failover_setup.rendering.vllm import case_of, engine_for
from failover_setup.stack import StackFile, VllmFile

COUNTER: Final = "-counter"
LATENCY: Final = "-latency"
_LONGEST_LABEL: Final = 63
_MOST_TERMS: Final = 30  # as the definition of EC2NodeClass
_HPA: Final = "keda-hpa-"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_COMMIT_WANTED: Final = "the commit to serve, 40 hexadecimal digits: branches and tags move"
_FAMILIES: Final = frozenset(family_of(name) for name in INSTANCES)


def faults(file: ApplicationFile) -> Iterator[Fault]:
    """Everything that prevents a rendering, with places relative to the document."""
    stack = file.spec.stack
    if stack is None:
        yield ("spec", "stack"), "nothing", "a mapping with cluster, region, task, model and images: docs/render.md"
        return
    yield from _name(file, stack)
    yield from _annotations(file, stack)
    yield from _metrics(file)
    for index, unit in enumerate(file.spec.units):
        for place, found, allowed in _unit(unit, stack):
            yield ("spec", "units", index, *place), found, allowed
    yield from _reservations(file, stack)
    if stack.nodes.render:
        yield from _pools(file)


def _those(*checks: tuple[object, Place, str, str]) -> Iterator[Fault]:
    """The faults whose condition holds: condition, place, what was found, what is allowed."""
    return ((place, found, allowed) for wrong, place, found, allowed in checks if wrong)


def _name(file: ApplicationFile, stack: StackFile) -> Iterator[Fault]:
    """Checks that the names of the EC2NodeClasses, which follow from the application's, fit into a label of the nodes."""
    name = file.metadata.name
    made = max((class_name(file, FRAMEWORKS[one.framework]) for one in file.spec.units if one.framework in FRAMEWORKS), key=len, default="")
    longest = _LONGEST_LABEL - (len(made) - len(name))
    allowed = f"at most {longest} characters: an EC2NodeClass is named {name[:5]}…{made.removeprefix(name)}, and a label holds its name"
    yield from _those((stack.nodes.render and len(made) > _LONGEST_LABEL, ("metadata", "name"), describe_value(name), allowed))


def _annotations(file: ApplicationFile, stack: StackFile) -> Iterator[Fault]:
    application = file.to_policy()
    ours = routing_port(application).field(application)
    if file.spec.route is not None:
        place: Place = ("spec", "stack", "loadBalancer", "annotations")
        yield from _those((bool(stack.load_balancer.annotations), place, "some", "none with route: its load balancer has none"))
        by_index = file.spec.route.rule
        yield from _those(
            (by_index.isdigit() and by_index != "0", ("spec", "route", "rule"), by_index, "a name, or 0: it is the first rule")
        )
        return
    for key in stack.load_balancer.annotations:
        if key == ours or key.startswith(OURS):
            place = ("spec", "stack", "loadBalancer", "annotations", key)
            yield (
                place,
                "a key that the controller writes",
                f"other annotations; {ours} follows from the units",
            )


def _metrics(file: ApplicationFile) -> Iterator[Fault]:
    space, place = file.spec.metrics.namespace, ("spec", "metrics", "namespace")
    scaled = any(unit.scaled_object for unit in file.spec.units)
    yield from _those(
        (scaled and not space, place, "nothing", "the CloudWatch namespace of the counters, which the ScaledObjects need"),
        ('"' in space, place, describe_value(space), "a name without quotes: it is quoted in KEDA's query"),
    )


def _unit(unit: UnitFile, stack: StackFile) -> Iterator[Fault]:
    wanted = FRAMEWORKS.get(unit.framework)
    if wanted is None:
        yield ("framework",), describe_value(unit.framework), f"one of {', '.join(FRAMEWORKS)}: it determines image, resource and nodes"
        return
    yield from _instance_types(unit, wanted)
    yield from _sizes(unit)
    yield from _server(unit, stack, wanted)
    kind, name = unit.runs.kind, unit.runs.name
    long = len(name) > _LONGEST_LABEL or "." in name
    allowed = f"at most {_LONGEST_LABEL} characters without dots: it is the pods' label app"
    yield from _those(
        (long, ("deployment",), describe_value(name), allowed),
        (unit.workload is not None, ("workload",), f"a {kind}", "deployment: only Deployments are rendered"),
    )


def _instance_types(unit: UnitFile, wanted: Maker) -> Iterator[Fault]:
    for name in allowed_types(unit):
        place: Place = ("instanceType",) if name == unit.instance_type else ("instanceTypes", unit.instance_types.index(name))
        if maker_of(name) is not wanted:
            families = "inf2 or trn2" if wanted is Maker.NEURON else "g6 or g6e"
            yield place, describe_value(name), f"a type with {wanted.resource}, such as {families}, because framework is {unit.framework}"
    family = family_of(unit.instance_type)
    other = unit.device in _FAMILIES and unit.device != family
    yield from _those((other, ("device",), describe_value(unit.device), f"{family}, the family of instanceType {unit.instance_type}"))


def _sizes(unit: UnitFile) -> Iterator[Fault]:
    known, count = INSTANCES.get(unit.instance_type), unit.stack.accelerators
    most = known.accelerators if known is not None else count
    sizes = (("cpu", unit.stack.cpu), ("memory", unit.stack.memory))
    yield from _those(
        *(
            (known is None and value is None, ("stack", name), "nothing", f"a quantity: the size of {unit.instance_type} is unknown")
            for name, value in sizes
        ),
        (count > most, ("stack", "accelerators"), str(count), f"at most {most}, the number of {unit.instance_type}"),
    )


def _server(unit: UnitFile, stack: StackFile, wanted: Maker) -> Iterator[Fault]:
    image = f"an image here or as spec.stack.images.{_image_key(unit)}"
    yield from _those((image_of(unit, stack) is None, ("stack", "image"), "nothing", image))
    yield from _models(unit, stack, wanted)
    yield from _runs(unit, stack)
    counter, scaled, longest = unit.counter_metric, unit.scaled_object or "", _LONGEST_LABEL - len(_HPA)
    app = counter.removesuffix(COUNTER)
    latency = f"{app or unit.name}{LATENCY}"
    wrong = counter and (not counter.endswith(COUNTER) or not app or '"' in app)
    other = not wrong and unit.latency_metric and unit.latency_metric != latency
    allowed = f"at most {longest} characters: KEDA puts {_HPA} before it, and refuses more than {_LONGEST_LABEL}"
    yield from _those(
        (wrong, ("counterMetric",), describe_value(counter), f"a name that ends with {COUNTER}: the model server writes it"),
        (other, ("latencyMetric",), describe_value(unit.latency_metric), f"{latency}: the model server writes it beside the counter"),
        (len(scaled) > longest, ("scaledObject",), describe_value(scaled), allowed),
        (scaled and not counter, ("counterMetric",), "nothing", "a metric, by which scaledObject scales"),
    )


def _models(unit: UnitFile, stack: StackFile, wanted: Maker) -> Iterator[Fault]:
    """Checks the downloads: the compiled artifacts with framework neuron, the model with the others and with vLLM."""
    compiled, at = unit.stack.compiled_model, ("stack", "compiledModel")
    if unit.stack.vllm is not None:
        yield from _vllm(unit, unit.stack.vllm, stack)
        yield from _model(unit, stack)
    elif stack.task == "text-generation":
        yield ("stack", "vllm"), "nothing", "a mapping ({} for its defaults): only vLLM serves text-generation"
    elif wanted is Maker.NEURON:
        found, loads = (
            unit.stack.compiled_revision,
            "the location of the compiled artifacts: framework neuron loads them and compiles nothing",
        )
        yield from _those(
            (not compiled, at, "nothing", loads),
            (compiled and _unpinned(compiled, found), ("stack", "compiledRevision"), describe_value(found), _COMMIT_WANTED),
        )
    else:
        yield from _those((compiled, at, describe_value(compiled), f"nothing: framework {unit.framework} compiles at start"))
        yield from _model(unit, stack)


def _model(unit: UnitFile, stack: StackFile) -> Iterator[Fault]:
    name, revision = model_of(unit, stack)
    yield from _those(
        (not name, ("stack", "model"), "nothing", "a model here or as spec.stack.model"),
        (
            name and _unpinned(name, revision),
            ("stack", "revision"),
            describe_value(revision),
            f"{_COMMIT_WANTED}, here or as spec.stack.revision",
        ),
    )


def _vllm(unit: UnitFile, profile: VllmFile, stack: StackFile) -> Iterator[Fault]:
    engine, family, cache = engine_for(unit, profile), family_of(unit.instance_type), profile.compile_cache
    place: Place = ("stack", "vllm")
    text, own = (
        f"nothing, because spec.stack.task is {stack.task}: vLLM generates text",
        "cuda or neuron, because vLLM brings its own kernels",
    )
    compiled = unit.stack.compiled_model
    yield from _those(
        (stack.task != "text-generation", place, "a mapping", text),
        (unit.framework == "triton", ("framework",), describe_value(unit.framework), own),
        (compiled, ("stack", "compiledModel"), describe_value(compiled), "nothing: vLLM compiles by itself, into vllm.compileCache"),
        (not profile.image and not engine.image, (*place, "image"), "nothing", f"an image: no vLLM for {family} is known"),
        (engine.cache and not cache, (*place, "compileCache"), "nothing", "s3://BUCKET/PREFIX, without which every pod compiles anew"),
        (
            cache and not engine.cache,
            (*place, "compileCache"),
            describe_value(cache),
            f"nothing: vLLM for {family} keeps no artifacts elsewhere",
        ),
    )


def _runs(unit: UnitFile, stack: StackFile) -> Iterator[Fault]:
    """Checks that nothing is known not to work, and that the model fits in memory."""
    case = case_of(unit, model_of(unit, stack)[0])
    place: Place = ("framework",) if unit.stack.vllm is None else ("stack", "vllm", "image")
    for one in verdicts(case):
        if one.status is Status.FAILS:
            yield place, f"{one.what}, which is known not to work: {one.why}", one.instead
    for field, found, needed in shortfalls(case):
        yield ("stack", field), found, needed


def warnings(file: ApplicationFile) -> Iterator[tuple[Place, str]]:
    """What a person should know of what the units run, by unit: not known to work, or frozen."""
    stack = file.spec.stack
    for index, unit in enumerate(file.spec.units if stack is not None else ()):
        if stack is not None:
            yield from ((("spec", "units", index), one.warning) for one in verdicts(case_of(unit, model_of(unit, stack)[0])) if one.warning)


def model_of(unit: UnitFile, stack: StackFile) -> tuple[str, str]:
    """A unit's model and its revision: its own, or the stack's."""
    if unit.stack.model:
        return unit.stack.model, unit.stack.revision
    return stack.model, unit.stack.revision or stack.revision


def _unpinned(location: str, revision: str) -> bool:
    """Whether the location is a hub model that is not pinned to a commit, which the model server would refuse."""
    hub = location.startswith("hf://") or ("://" not in location and not location.startswith(("/", ".")))
    return hub and _COMMIT.fullmatch(revision) is None


def _reservations(file: ApplicationFile, stack: StackFile) -> Iterator[Fault]:
    """Checks that reservations are rendered, and can be what the units say of them."""
    terms: dict[Maker | None, int] = {}
    for index, unit in enumerate(file.spec.units):
        place: Place = ("spec", "units", index, "stack", "reservations")
        named, made_by, kinds = len(unit.stack.reservations), FRAMEWORKS.get(unit.framework), unit.stack.capacity_types
        terms[made_by] = terms.get(made_by, 0) + named
        all_of, most = f"{terms[made_by]} with those of the units before", f"at most {_MOST_TERMS} for one EC2NodeClass"
        elsewhere = "none, because spec.stack.nodes.render is false: its node class is made elsewhere"
        yield from _those(
            ("reserved" in kinds and not named, place, "nothing", "at least one, because capacityTypes has reserved"),
            (
                named and bool(kinds) and "reserved" not in kinds,
                (*place[:-1], "capacityTypes"),
                ", ".join(kinds),
                "reserved, too, because the unit has reservations",
            ),
            (named and not stack.nodes.render, place, f"{named}", elsewhere),
            (named and terms[made_by] > _MOST_TERMS, place, all_of, most),
        )


def _pools(file: ApplicationFile) -> Iterator[Fault]:
    """Checks that units with a common NodePool use the same maker's accelerators and the same capacity types."""
    first: dict[str, UnitFile] = {}
    for index, unit in enumerate(file.spec.units):
        other, place = first.setdefault(unit.node_pool, unit), ("spec", "units", index)
        mixed, kinds = FRAMEWORKS.get(unit.framework) is not FRAMEWORKS.get(other.framework), unit.stack.capacity_types
        another = f"another NodePool than that of {other.name}, whose nodes have another accelerator"
        same = f"the same as {other.name}, with which it shares NodePool {unit.node_pool}"
        yield from _those(
            (mixed, (*place, "nodePool"), describe_value(unit.node_pool), another),
            (
                not mixed and {*kinds} != {*other.stack.capacity_types},
                (*place, "stack", "capacityTypes"),
                ", ".join(kinds) or "nothing",
                same,
            ),
        )


def image_of(unit: UnitFile, stack: StackFile) -> str | None:
    """The image of a unit's container, None if the file names none."""
    shared: str | None = getattr(stack.images, _image_key(unit))
    return unit.stack.image or shared


def _image_key(unit: UnitFile) -> str:
    """The key of a unit's image in `spec.stack.images`."""
    return "adapter" if unit.stack.vllm is not None else unit.framework
