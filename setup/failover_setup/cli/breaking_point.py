"""`failoverctl breaking-point`: measures how much load one replica of a deployment unit carries."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from controller.catalog.loader import Definition
from controller.cli.common import Options, seconds, show
from controller.cli.progress import ProgressLine
from controller.cli.selection import open_session
from controller.clients.aws import AwsClients
from controller.clock import SystemClock, format_rfc3339
from controller.errors import ConfigError
from controller.policy.model import Application, Unit
from failover_setup.application import ApplicationFile, load_definitions
from failover_setup.breaking_point import plot
from failover_setup.breaking_point.accelerator import CLOUDWATCH_STEP_S, REFRESHED_S, CloudWatchUse, ExporterUse
from failover_setup.breaking_point.edit import Measured, check_writable, write_measured
from failover_setup.breaking_point.exposure import Exposure, Verdict, exposure, observe_or_why, resolve
from failover_setup.breaking_point.model import Bounds, Ending, Limits, Outcome, Step
from failover_setup.breaking_point.report import HEADER, document, ending_text, json_text, limits_text, step_line
from failover_setup.breaking_point.run import AcceleratorUse, Measurement, Settings, Unknown
from failover_setup.breaking_point.search import Try
from failover_setup.breaking_point.target import Target, make_target
from failover_setup.breaking_point.vegeta import Vegeta, find_program
from failover_setup.tables import weights_report

INTERRUPTED: Final = 130  # as a shell's, after Ctrl-C

_TIMEOUTS: Final = 5.0  # times the latency limit
_SHORTEST_TIMEOUT_S: Final = 5.0
_WARNED: Final = 2.0  # times the exporter's interval


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the command line."""

    file: Path
    unit: str
    application: str | None
    url: str
    method: str
    headers: tuple[str, ...]
    body: Path | None
    replicas: int
    latency_limit: float | None
    max_errors: float
    max_accelerator: float
    accelerator_metrics: str | None
    accelerator_cloudwatch: str | None
    accelerator_match: tuple[str, ...]
    start_rate: float | None
    max_rate: float
    step: str
    max_time: str
    max_steps: int
    max_requests: int
    timeout: float | None
    load_tool: Path | None
    write: bool
    plot_file: Path | None
    draw: bool
    steps_file: Path | None
    force: bool
    yes: bool
    settings_file: Path | None
    kubeconfig: str | None
    context: str | None


def measure(given: Given) -> int:
    """Measures, and writes what was found.

    Returns:
        The exit code.

    Raises:
        FailoverError: The measurement cannot begin, or a file cannot be written.
    """
    definition = _definition(given)
    application = definition.model.to_policy()
    unit = next(one for one in application.units if one.name == given.unit)
    settings = _settings(given, unit)
    target = make_target(given.url, given.method, given.headers, given.body)
    tool = Vegeta(find_program(given.load_tool), target, given.timeout or max(_SHORTEST_TIMEOUT_S, _TIMEOUTS * settings.limits.latency_s))
    plot_file = (given.plot_file or Path(f"breaking-point-{unit.name}.svg")) if given.draw else None
    if plot_file is not None:
        plot.check(plot_file)
    if given.write:
        check_writable(given.file, application.key, unit.name)
    _say(f"Breaking point of {unit.name} in {application.key}", "title")
    _say(f"{target.shown}, {given.replicas} replica(s), {limits_text(settings.limits)}")
    use = _use(given, settings)
    _allow(given, application, target)
    with _progress() as watcher:
        outcome = Measurement(tool, use, settings, SystemClock(), watcher).run()
    found = outcome.ending is Ending.FOUND
    _say(f"\n{ending_text(outcome, settings.limits, settings.bounds)}", "good" if found else "bad")
    about = {
        "application": application.key,
        "unit": unit.name,
        "target": target.shown,
        "replicas": given.replicas,
        "measuredAt": format_rfc3339(SystemClock().now()),
        "limits": asdict(settings.limits),
    }
    if given.steps_file is not None:
        _write(given.steps_file, json_text(document(outcome, about)))
    if outcome.found is not None:
        _result(
            given,
            definition,
            unit,
            numbers(outcome, outcome.found, settings.limits, application.metric_period_s, given.replicas),
        )
    if plot_file is not None and outcome.steps:
        plot.draw(plot_file, outcome, settings.limits, f"Breaking point of {unit.name} ({unit.instance_type}), {given.replicas} replica(s)")
        _say(f"Plot: {plot_file}")
    return 0 if found else INTERRUPTED if outcome.ending is Ending.INTERRUPTED else 1


def _definition(given: Given) -> Definition[ApplicationFile]:
    """Finds the application that has the unit.

    Raises:
        ConfigError: There is none, or more than one, or the path is a folder.
    """
    if given.file.is_dir():
        raise ConfigError(f"{given.file}: found a folder; allowed: one application file")
    definitions = load_definitions(given.file)
    wanted = [one for one in definitions.values() if given.application in {None, one.model.key, one.model.metadata.name}]
    found = [one for one in wanted if any(unit.name == given.unit for unit in one.model.spec.units)]
    if not found:
        units = ", ".join(unit.name for one in wanted for unit in one.model.spec.units)
        raise ConfigError(f"{given.file}: no unit {given.unit!r}; there are: {units or 'none'}")
    if len(found) > 1:
        keys = ", ".join(one.model.key for one in found)
        raise ConfigError(f"{given.file}: several applications have a unit {given.unit!r}; name one with --application: {keys}")
    return found[0]


def _settings(given: Given, unit: Unit) -> Settings:
    """The settings of the measurement.

    Raises:
        ConfigError: The limit is above the unit's own.
    """
    limit_s = unit.latency_limit_s if given.latency_limit is None else given.latency_limit
    if given.write and limit_s > unit.latency_limit_s:
        text = f"--latency-limit: found {limit_s:g}, above the unit's latencyLimitSeconds ({unit.latency_limit_s:g})"
        raise ConfigError(f"{text}: at its breaking point it would count as failing its users; raise that first, or use --no-write")
    if given.accelerator_metrics and given.accelerator_cloudwatch:
        raise ConfigError("--accelerator-metrics and --accelerator-cloudwatch: found both; allowed: one of them")
    step_s = seconds(given.step, "--step")
    return Settings(
        Limits(limit_s, given.max_errors, given.max_accelerator),
        Bounds(given.max_steps, seconds(given.max_time, "--max-time"), given.max_requests, given.max_rate),
        step_s=max(step_s, CLOUDWATCH_STEP_S) if given.accelerator_cloudwatch else step_s,
        start=given.start_rate,
    )


def _use(given: Given, settings: Settings) -> AcceleratorUse:
    """Makes the probe of the accelerators' use.

    Raises:
        ConfigError: The options are wrong.
    """
    match = _pairs(given.accelerator_match)
    if given.accelerator_metrics is not None:
        exporter = ExporterUse(given.accelerator_metrics, match)
        metric = exporter.metric()
        refreshed_s = REFRESHED_S.get(metric, 0.0)
        if settings.step_s < _WARNED * refreshed_s:
            text = f"⚠ {metric} is renewed every {refreshed_s:g} s by default: use --step {_WARNED * refreshed_s:g}s or longer"
            _say(f"{text}, or steps are judged by the use of earlier ones.", "warn")
        return exporter
    if given.accelerator_cloudwatch is not None:
        namespace, slash, metric = given.accelerator_cloudwatch.rpartition("/")
        if not slash or not namespace or not metric:
            raise ConfigError("--accelerator-cloudwatch: allowed: NAMESPACE/METRIC, such as ContainerInsights/pod_gpu_utilization")
        region = Options(given.settings_file, None, None, None).settings().aws.region
        return CloudWatchUse(AwsClients(region), SystemClock(), namespace, metric, match)
    _say("⚠ The use of the accelerator is not known (no --accelerator-metrics): it limits nothing.", "warn")
    return Unknown()


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if any(not name or not sign for name, sign, _ in pairs):
        raise ConfigError("--accelerator-match: found something else; allowed: NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _allow(given: Given, application: Application, target: Target) -> None:
    """Refuses a URL that serves users, warns, and asks for confirmation.

    Raises:
        ConfigError: The URL must not be loaded.
    """
    options = Options(given.settings_file, None, given.kubeconfig, given.context)
    verdict = exposure(target.host, application, None, resolve)
    if verdict.exposure is Exposure.UNKNOWN:
        live, why = observe_or_why(lambda: open_session(options.settings()), application)
        verdict = exposure(target.host, application, live, resolve) if live else Verdict(Exposure.UNKNOWN, f"{verdict.why} ({why})")
    if verdict.exposure is Exposure.PRODUCTION and not given.force:
        raise ConfigError(f"refused: users are behind that URL: {verdict.why}; load a copy of the unit, or use --force")
    if verdict.exposure is Exposure.UNKNOWN and not given.force:
        raise ConfigError(f"refused: cannot tell whether users are behind that URL: {verdict.why}; make sure, then use --force")
    _say(f"⚠ This loads it until it breaks, and harms everybody else who uses it now. As far as known {verdict.why}.", "warn")
    if not given.yes:
        if not sys.stdin.isatty():
            raise ConfigError("there is no terminal to ask for confirmation; use --yes")
        click.confirm("Load it?", abort=True)


class _Watcher:
    """Shows the progress: a bar during a step, and a line after it."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        line.begin("single requests")

    def base(self, latency_s: float) -> None:
        with self._line.above():
            _say(f"Single requests take {latency_s:.3f} s (median).\n\n{HEADER}")

    def begins(self, number: int, to_try: Try, seconds: float) -> None:
        self._line.begin(f"step {number}: {to_try.rate:g} requests/s" + (" to confirm" if to_try.long else ""), seconds)

    def goes_on(self, seconds: float) -> None:
        self._line.advance(seconds)

    def ended(self, number: int, step: Step) -> None:
        with self._line.above():
            _say(step_line(number, step), "plain" if step.held else "bad")

    def recovering(self) -> None:
        self._line.begin("letting it recover")


@contextmanager
def _progress() -> Iterator[_Watcher]:
    """Shows the progress line if there is a terminal. SIGTERM ends the measurement as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    line = ProgressLine(SystemClock())
    try:
        yield _Watcher(line)
    finally:
        line.erase()
        signal.signal(signal.SIGTERM, before)


def _say(text: str, style: str = "plain") -> None:
    """Prints in a style of `controller.cli.common.STYLES`."""
    show([(style, text)])


def _result(given: Given, definition: Definition[ApplicationFile], unit: Unit, measured: Measured) -> None:
    """Writes the numbers, and prints the resulting weights.

    Raises:
        ConfigError: The file cannot be written.
    """
    model = definition.model
    _say(
        f"Per replica: {measured.throughput:g} requests in {model.spec.metrics.period_s} s (was {unit.throughput:g}), p95 "
        f"{measured.latency_s:g} s (was {unit.latency_s:g}), {unit.price_per_hour / measured.throughput:.5f} USD/h for each request per "
        "period."
    )
    if not given.write:
        _say(f"{given.file} was left as it is (--no-write).")
        return
    write_measured(given.file, model.key, unit.name, measured)
    _say(f"Written into {given.file}.\n")
    written = load_definitions(given.file)[model.key].model
    _say(weights_report(written.to_policy()).text())


def numbers(outcome: Outcome, found: Step, limits: Limits, period_s: int, replicas: int) -> Measured:
    """The numbers to write for a measurement.

    Args:
        outcome: The result of the measurement.
        found: The step at the breaking point.
        limits: Of the measurement.
        period_s: Metric period that throughput counts in, seconds.
        replicas: Number of replicas that shared the load.
    """
    throughput = float(f"{found.throughput * period_s / replicas:.4g}")
    use = found.accelerator_use
    limited = f"limited by {', '.join(outcome.limited_by)}; limit of the p95 latency {limits.latency_s:g} s"
    busy = "" if use is None else f", accelerator use {min(use, 1.0):.0%}"
    note = f"measured {format_rfc3339(SystemClock().now())}, {limited}{busy}"
    # Rounded down, because the file requires it to be below the limit of the measurement.
    return Measured(throughput, max(int(found.p95_s * 1000), 1) / 1000, note)


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
