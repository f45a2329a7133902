"""Plays the demo's failover with every sink and command, and keeps what people and programs see of it.

``python -m tools.captures`` writes docs/what-you-see.md in about five minutes: the demo's scenario on emulated servers, the production
controller, an emulated Slack, a receiver of the webhook, a queue behind EventBridge, and the commands on the scenario's clock. With a
Chromium it also draws the page before, during and after the failover. Times and prices differ each time, so a test checks the shape only.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import boto3
import structlog
from click.testing import CliRunner

from controller.cli.main import main as cli
from controller.clients.kube import INGRESSES, MERGE_PATCH, KubeSession, connect
from controller.policy.model import Mode
from controller.routing.annotations import PAUSED_UNTIL
from controller.service.wiring import Service
from controller.settings import EventBridgeSettings, NotificationSettings, Settings, SlackSettings, WebhookSettings
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.demo.environment import Environment
from failover_testbed.demo.play import demo_settings, environment_variables
from failover_testbed.demo.scenario import builtin, load_scenario
from failover_testbed.slack import TOKEN, SlackServer, emulated_slack
from tools.captures_page import IMAGES, PAGE, Captured, written

SCENARIO: Final = "seed"
FACTOR: Final = 4.0  # much slower than the demo: the commands take seconds of it, on the same processors
_COLUMNS: Final = "100"
_POLL_S: Final = 0.1
_LONGEST_S: Final = 1200.0  # real seconds that the run may take
_SETTLE_S: Final = 45.0  # of the scenario, after a mode change: time for the load balancer to follow and the replicas to start

_BOOT: Final = """
import controller.clock as clocks
machine = clocks.SystemClock()
class Shared(clocks.AcceleratedClock):
    def __init__(self):
        super().__init__({factor}, {start}, machine)
        self._real_start = {real_start}
clocks.SystemClock = Shared
from controller.cli.main import main
main()
"""
"""Starts a command on the scenario's clock, which counts the machine's monotonic seconds from the same moment."""


def main() -> None:
    """Plays the scenario and writes the page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        captured = capture(Path(folder))
    PAGE.write_text(written(captured))
    sys.stdout.write(f"wrote {PAGE.name}\n")


def capture(folder: Path) -> Captured:
    """Plays the scenario once.

    Args:
        folder: For the files of settings and secrets.
    """
    scenario, captured = load_scenario(builtin(SCENARIO)), Captured()
    clock = AcceleratedClock(FACTOR)
    with emulated_slack() as slack, _webhook(captured) as url, environment_variables({}), Environment(scenario, clock) as environment:
        aws = {**environment.environment(), "KUBECONFIG": str(environment.kubeconfig("controller"))}
        with environment_variables(aws):
            queue = _events_queue()
            settings = _settings(demo_settings(), slack, url, folder)
            service = Service(settings, connect(kubeconfig=aws["KUBECONFIG"]), clock)
            thread = threading.Thread(target=service.run, name="controller")
            thread.start()
            try:
                run = _Run(captured, service, environment, clock, _command_environment(environment))
                run.follow()
            finally:
                service.stop()
                thread.join(30)
            captured.slack, captured.channel = slack.calls, slack.messages
            captured.events = _received(queue)
    return captured


def _settings(base: Settings, slack: SlackServer, webhook: str, folder: Path) -> Settings:
    token, url = folder / "token", folder / "url"
    token.write_text(TOKEN)
    url.write_text(webhook)
    return base.model_copy(
        update={
            "slack": SlackSettings(token_file=token, channel="#alerts", api_url=slack.api),
            "webhook": WebhookSettings(url_file=url),
            "eventbridge": EventBridgeSettings(bus="default"),
            "notifications": NotificationSettings(cluster="prod", runbooks="https://wiki.example/runbooks"),
        }
    )


class _Run:
    """Follows the scenario and runs the commands at its moments."""

    def __init__(
        self, captured: Captured, service: Service, environment: Environment, clock: AcceleratedClock, variables: dict[str, str]
    ) -> None:
        self._captured, self._service, self._environment, self._clock, self._variables = captured, service, environment, clock, variables
        self._admin: KubeSession = connect(kubeconfig=str(environment.kubeconfig("admin")))
        self._end = time.monotonic() + _LONGEST_S
        self._boot = _BOOT.format(factor=FACTOR, start=clock._start, real_start=clock._real_start)  # noqa: SLF001 - to share it with other processes

    def follow(self) -> None:
        """Waits for each moment in turn, and captures it."""
        words = [sys.executable, "-c", self._boot, "status", "--watch"]
        watching = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=self._variables)
        try:
            for command in ("status", "explain", "history"):  # their imports take a while
                CliRunner().invoke(cli, [command, "--help"])
            self._until(lambda: self._reason() is not None)
            self._settle(5.0)
            self._page("before")
            self._capture("before", "status", "explain")
            self._until(lambda: self._reason() == "ShortageSuspected")
            self._capture("suspected", "explain")
            self._until(lambda: self._mode() is Mode.CAPACITY)
            self._settle(_SETTLE_S)
            self._capture("during", "status", "explain")
            self._page("during")
            self._until(lambda: self._mode() is Mode.COST)
            self._settle(_SETTLE_S)
            self._page("after")
            self._capture("after", "history", "status")
            self._mistake()
            self._until(self._environment.finished.is_set)
        finally:
            watching.terminate()
            self._captured.watch = watching.communicate(timeout=30)[0]

    def _mistake(self) -> None:
        """A person mistypes the time of a pause and then removes it: an alert that fires and is resolved."""
        self._annotate("tomorrow")
        self._until(self._alerting)
        self._settle(5.0)
        self._annotate(None)
        self._until(lambda: not self._alerting())
        self._settle(5.0)

    def _annotate(self, until: str | None) -> None:
        application = self._service.controller.views()[0].application
        body = json.dumps({"metadata": {"annotations": {PAUSED_UNTIL: until}}})
        self._admin.request("PATCH", INGRESSES.path(application.namespace, application.route.name), body=body, content_type=MERGE_PATCH)

    def _alerting(self) -> bool:
        return bool(self._service.controller.views()[0].decision.alerts)

    def _reason(self) -> str | None:
        views = self._service.controller.views()
        return str(views[0].decision.reason) if views else None

    def _mode(self) -> Mode | None:
        views = self._service.controller.views()
        return views[0].memory.mode if views else None

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if time.monotonic() > self._end:
                raise TimeoutError(f"waited too long; the decision is {self._reason()}")
            time.sleep(_POLL_S)

    def _settle(self, seconds: float) -> None:
        self._clock.wait(threading.Event(), seconds)

    def _capture(self, moment: str, *commands: str) -> None:
        for command in commands:
            # Here, and not in a process of its own: the start of one would take longer than a shortage is only suspected.
            with patch(f"controller.cli.{command}.SystemClock", lambda: self._clock):
                done = CliRunner().invoke(cli, [command, "--kubeconfig", self._variables["KUBECONFIG"]], env=self._variables)
            if done.exit_code:
                raise RuntimeError(f"failoverctl {command}: {done.output}")
            self._captured.commands.setdefault(moment, []).append((f"failoverctl {command}", done.output))

    def _page(self, moment: str) -> None:
        """Draws the page, where there is a Chromium."""
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            sys.stdout.write("no Chromium: the pictures of the page stay as they are\n")
            return
        with tempfile.TemporaryDirectory() as profile:
            words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1250"]
            words += [f"--user-data-dir={profile}", f"--screenshot={IMAGES / f'page-{moment}.png'}"]
            subprocess.run([*words, f"http://127.0.0.1:{self._service.http_port}/"], capture_output=True, timeout=120, check=True)


def _command_environment(environment: Environment) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FAILOVERCTL_", "KUBE"))}
    return {
        **given,
        **environment.environment(),
        "FAILOVERCTL_AWS__LATENCY_STAT": "Average",
        "FAILOVERCTL_AWS__APIS": '["elbv2", "cloudwatch", "ec2"]',
        "COLUMNS": _COLUMNS,
        "NO_COLOR": "1",
    }


# --- receivers --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _webhook(captured: Captured) -> Iterator[str]:
    """A receiver of the webhook; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            captured.webhook.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/failoverctl"
    finally:
        server.shutdown()
        server.server_close()


def _events_queue() -> str:
    """A queue that a rule of the default bus delivers the controller's events to; its URL."""
    sqs, events = boto3.client("sqs"), boto3.client("events")
    url: str = sqs.create_queue(QueueName="failoverctl")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="failoverctl", EventPattern=json.dumps({"source": ["failoverctl"]}))
    events.put_targets(Rule="failoverctl", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _received(url: str) -> list[dict[str, Any]]:
    sqs, found = boto3.client("sqs"), list[dict[str, Any]]()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(one["Body"]) for one in messages]
        for one in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    return found


if __name__ == "__main__":
    main()
