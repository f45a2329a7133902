"""What holds for every test."""

from __future__ import annotations

import gc
import json
import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from botocore.loaders import JSONFileLoader
from hypothesis import HealthCheck, settings

from controller.clients import aws, aws_models
from failover_harness.control_plane import crds
from failover_harness.control_plane.binaries import (
    CRANE,
    HELM,
    KARPENTER,
    KEDA,
    KEDA_ADMISSION,
    KEDA_METRICS,
    LBC,
    PROMTOOL,
    VEGETA,
    Unavailable,
    locate,
    tool,
)
from failover_harness.control_plane.control_plane import ControlPlane
from failover_testbed.loopback import unproxied
from tests import tiers
from tests.support import closing

gc.disable()  # until all tests are collected: to go through thousands of them again and again takes a fifth of that time

# A profile of the person who runs the tests must not get between them and the emulated AWS.
os.environ.pop("AWS_PROFILE", None)
os.environ.update(unproxied())  # nor their proxy before the servers that tests start
# moto would make 1,300 machine images with each account, a quarter of a second; the tests that need them say so (`EmulatedAws`).
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"

# As in production, without structlog's default for developers, whose colourful tracebacks with all variables take a second each.
structlog.configure(
    processors=[structlog.stdlib.add_log_level, structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer()]
)

# No test asserts a duration: a slow machine must not make a property false.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples for each mutant, and fewer: each of thousands of mutants runs the tests that reach it (tools/mutation.py).
settings.register_profile("mutation", settings.get_profile("project"), derandomize=True, database=None, max_examples=25)
settings.load_profile("project")

_GARBAGE = 50_000
"""After how many new objects Python searches for garbage: at its default of 700, a test that makes objects spends a twentieth on that."""

# What a fixture needs besides.
_TOOLS = {
    "crane": CRANE,
    "helm": HELM,
    "karpenter_program": KARPENTER,
    "keda_admission_program": KEDA_ADMISSION,
    "keda_metrics_program": KEDA_METRICS,
    "keda_program": KEDA,
    "lbc_program": LBC,
    "promtool": PROMTOOL,
    "vegeta": VEGETA,
}
_ROOT = Path(__file__).parents[1]
_selected = pytest.StashKey[frozenset[tiers.Tier]]()
_found = pytest.StashKey[tiers.Tier]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--tier`: see tests/tiers.py."""
    parser.addoption(
        "--tier",
        default=",".join(tiers.DEFAULT),
        metavar="TIER[,TIER]",
        help=f"tiers to run, of {', '.join(tiers.Tier)} (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reads `--tier`."""
    config.pluginmanager.register(closing)
    try:
        config.stash[_selected] = tiers.selection(config.getoption("tier"))
    except ValueError as error:
        raise pytest.UsageError(f"--tier: {error}; there are {', '.join(tiers.Tier)}") from error


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves files unread that hold nothing of the selected tiers: importing them all takes seconds in every worker."""
    if collection_path.suffix != ".py" or not collection_path.is_relative_to(_ROOT):
        return None
    return None if reads(collection_path.relative_to(_ROOT).as_posix(), config.stash[_selected]) else True


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each worker begins to collect elsewhere: what Python has not yet compiled, one compiles, and the others find it compiled."""
    report = yield
    if report.passed and isinstance(collector, pytest.Directory):
        report.result = tiers.rotated(report.result, *_worker(collector.config))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Keeps the tests of the selected tiers, each with its tier's time-out; those that wait begin first."""
    items.sort(key=lambda item: item.path)  # the order that every worker agrees on, wherever it began to collect
    yield
    selected = config.stash[_selected]
    kept = keeps(items, selected)
    for item in kept:
        if (tier := _tier(item)) in tiers.TIMEOUT_S:
            item.add_marker(pytest.mark.timeout(tiers.TIMEOUT_S[tier]))
    if left_out := [item for item in items if _tier(item) not in selected]:
        config.hook.pytest_deselected(items=left_out)
    _, workers = _worker(config)
    items[:] = tiers.spread(kept, lambda item: tiers.waiting(item.nodeid), workers) if workers > 1 else kept


def _worker(config: pytest.Config) -> tuple[int, int]:
    """Which worker of xdist this process is, from 0, and of how many; (0, 1) where it is none."""
    mine = getattr(config, "workerinput", None)
    return (0, 1) if mine is None else (int(mine["workerid"].removeprefix("gw")), mine["workercount"])


def reads(path: str, selected: frozenset[tiers.Tier]) -> bool:
    """Whether a file, by its path in the repository, is read where these tiers are selected."""
    return bool(selected & tiers.tiers_of(path))


def keeps(items: Sequence[pytest.Item], selected: frozenset[tiers.Tier]) -> list[pytest.Item]:
    """The tests of the selected tiers."""
    return [item for item in items if _tier(item) in selected]


def _tier(item: pytest.Item) -> tiers.Tier:
    """A test's tier, found once: pytest comes with each of thousands several times, in every worker."""
    if _found not in item.stash:
        path = _place(item.path)
        call = getattr(item, "callspec", None)
        item.stash[_found] = tiers.tier_of("::".join([path, *item.nodeid.split("::")[1:]]), call.params.get("server") if call else None)
    return item.stash[_found]


@cache  # hundreds of tests are in the same file
def _place(path: Path) -> str:
    """A file's path in the repository."""
    return path.relative_to(_ROOT).as_posix()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds the programs that are needed and missing: that takes minutes, and no test's time-out may cut it off."""
    gc.freeze()  # modules and thousands of tests stay to the end: no collection of garbage need go through them
    gc.set_threshold(_GARBAGE)
    gc.enable()
    if session.config.option.collectonly:
        return
    on_real = any(_tier(item) in tiers.ON_REAL for item in session.items)
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with suppress(Unavailable), capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        if on_real:
            locate()
        for name in sorted(fixtures & _TOOLS.keys()):
            tool(_TOOLS[name])


def pytest_sessionfinish() -> None:
    """What nobody holds any more is found here. At its end pytest searches five times more, each time through all that remains."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def descriptions_read_once() -> Iterator[None]:
    """The controller's descriptions of AWS services, and everybody's endpoints, are read once a process, not once a session: megabytes.

    The whole descriptions are not: moto changes those that it has read.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aws_models._Files, "load_file", _once(aws_models._Files.load_file, ""))
        patched.setattr(JSONFileLoader, "load_file", _once(JSONFileLoader.load_file, "endpoints"))
        yield


def _once(load_file: Callable[[Any, str], Any], end: str) -> Callable[[Any, str], Any]:
    """A method that reads a file, and each with this end once, whichever object it is called on."""
    known: dict[str, Any] = {}

    def load(self: Any, file_path: str) -> Any:
        if not file_path.endswith(end):
            return load_file(self, file_path)
        if file_path not in known:
            known[file_path] = load_file(self, file_path)
        return known[file_path]

    return load


@pytest.fixture(scope="session", autouse=True)
def checked_requests() -> Iterator[None]:
    """Botocore checks every request to AWS against its model."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aws, "CHECKS_REQUESTS", True)
        yield


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Path:
    """Prometheus' own checker of rules."""
    return _tool(pytestconfig, PROMTOOL)


@pytest.fixture(scope="session")
def vegeta(pytestconfig: pytest.Config) -> Path:
    """The real load tool."""
    return _tool(pytestconfig, VEGETA)


@pytest.fixture(scope="session")
def crane(pytestconfig: pytest.Config) -> Path:
    """A client of registries, and a registry of its own."""
    return _tool(pytestconfig, CRANE)


@pytest.fixture(scope="session")
def helm(pytestconfig: pytest.Config) -> Path:
    """The real helm."""
    return _tool(pytestconfig, HELM)


@pytest.fixture(scope="session")
def karpenter_program(pytestconfig: pytest.Config) -> Path:
    """The real Karpenter."""
    return _tool(pytestconfig, KARPENTER)


@pytest.fixture(scope="session")
def lbc_program(pytestconfig: pytest.Config) -> Path:
    """The real AWS Load Balancer Controller."""
    return _tool(pytestconfig, LBC)


@pytest.fixture(scope="session")
def keda_program(pytestconfig: pytest.Config) -> Path:
    """The real operator of KEDA."""
    return _tool(pytestconfig, KEDA)


@pytest.fixture(scope="session")
def keda_metrics_program(pytestconfig: pytest.Config) -> Path:
    """KEDA's real server of external metrics."""
    return _tool(pytestconfig, KEDA_METRICS)


@pytest.fixture(scope="session")
def keda_admission_program(pytestconfig: pytest.Config) -> Path:
    """KEDA's real admission webhooks."""
    return _tool(pytestconfig, KEDA_ADMISSION)


def _tool(config: pytest.Config, name: str) -> Path:
    try:
        return tool(name)
    except Unavailable as error:
        skip_loudly(config, f"WITH A REAL {name.upper()}", str(error))


def skip_loudly(config: pytest.Config, what: str, reason: str) -> NoReturn:
    """Skips a test, and has the end of the run say what was not tested: a tier that could not run must not look like one that passed."""
    closing.say(config, f"NOT TESTED {what}", reason, warning=True)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """The control plane, started once a session, with every custom resource definition."""
    with _started(pytestconfig, controllers=True) as running:
        yield running


@pytest.fixture(scope="session")
def api_server(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """kube-apiserver and etcd alone, with every custom resource definition: nothing happens but what a test does."""
    with _started(pytestconfig, controllers=False) as running:
        yield running


@contextmanager
def _started(config: pytest.Config, *, controllers: bool) -> Iterator[ControlPlane]:
    try:
        made = ControlPlane(controllers=controllers)
    except Unavailable as error:
        skip_loudly(config, "ON A REAL CONTROL PLANE", str(error))
    with made as running:
        session = running.session()
        crds.install(session)
        session.close()
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own on the real control plane."""
    name = f"t-{secrets.token_hex(4)}"
    session = plane.session()
    session.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": name}}))
    yield name
    session.request("DELETE", f"/api/v1/namespaces/{name}")
    session.close()
