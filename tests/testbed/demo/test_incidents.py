"""Five incidents, each followed from its message alone: the message names a runbook, and the commands of that page find the answer.

With ``$FAILOVER_TEST_TRANSCRIPT`` set, what was sent, typed and printed is written there, as docs/incidents.md shows it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import yaml

from controller.clients.kube import CONFIG_MAPS, INGRESSES, LEASES, MERGE_PATCH, SCALED_OBJECTS, connect
from controller.clock import parse_rfc3339
from controller.errors import NotFound
from controller.routing.annotations import PAUSED_UNTIL
from controller.routing.names import action_key
from controller.service.leadership import LEASE_NAME
from controller.service.store import record_name
from failover_harness.waiting import wait_for
from tests.testbed.demo.shell import printed, running, short_scenario, typed

pytestmark = pytest.mark.timeout(300)

ROOT: Final = Path(__file__).parents[3]
APPLICATION: Final = "default/sd21"
TRANSCRIPT: Final = os.environ.get("FAILOVER_TEST_TRANSCRIPT", "")
_SOON_S: Final = 90.0
_SHOWN: Final = 24  # lines at each end of an output


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident.

    Attributes:
        title: What happens, in words.
        reason: The reason of the message about it, or the name of the alert of Prometheus.
        commands: The commands of the runbook that lead to the answer, in the order of the page; APPLICATION stands for the application.
        answer: What they must have said together, as regular expressions: what is wrong, and what to do or to wait for.
    """

    title: str
    reason: str
    commands: tuple[str, ...]
    answer: tuple[str, ...]


FAILED_OVER: Final = Incident(
    "EC2 has no inf2.xlarge",
    "ShortageProven",
    ("failoverctl status", "failoverctl explain"),
    (
        r"sd21-inf2 .*gets no nodes \(capacity\)",
        r"load balancer shows the routing action",
        r"waiting for proof that sd21-inf2 can get capacity again",
    ),
)
PAUSE: Final = Incident(
    "Somebody wrote a pause that cannot be read",
    "OverrideUnreadable",
    ("failoverctl explain", "failoverctl resume"),
    (r"paused-until: found 'tomorrow', allowed: a time", r"removed the pause until tomorrow"),
)
ACTION: Final = Incident(
    "Somebody deleted the routing action",
    "RoutingMissing",
    ("kubectl get ingress -o yaml --show-managed-fields", "failoverctl status"),
    (r"manager: failoverctl", r"load balancer shows the routing action"),
)
DEAD: Final = Incident(
    "The controller died",
    "FailoverctlNotRunning",
    ("failoverctl status",),
    (r"no replica leads|no status",),
)
QUOTA: Final = Incident(
    "The account's quota of vCPUs is used up",
    "Cause",
    ("failoverctl status",),
    (r"quota", r"vCPU"),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A person at a shell: the environment of ``demo --serve``, a controller with messages to SNS, and a queue behind that.

    Attributes:
        shell: The variables.
        queue: URL of the queue that gets the messages.
        home: An empty home.
        written: The transcript so far.
        seen: Messages that were received.
    """

    shell: Mapping[str, str]
    queue: str
    home: Path
    written: list[str]
    seen: list[str]

    def change(self, kind: Any, name: str, patch: Mapping[str, Any]) -> None:
        """Writes to an object, as a person with rights."""
        with closing(connect(kubeconfig=self.shell["KUBECONFIG"])) as session:
            path, query = kind.path("default", name), (("fieldManager", "kubectl-edit"),)
            session.request("PATCH", path, query=query, body=json.dumps(patch), content_type=MERGE_PATCH)

    def message(self, reason: str) -> str:
        """Waits for the message with a reason, as the on-call engineer's telephone shows it."""

        def found() -> str:
            self.seen.extend(_received(self.shell, self.queue))
            return next((one for one in self.seen if f"\nReason: {reason}\n" in one), "")

        wait_for(f"a message {reason}", lambda: found() != "", _SOON_S, lambda: "\n\n".join(self.seen))
        return found()

    def follow(self, incident: Incident, text: str) -> None:
        """Opens the runbook that a message names, types its commands, and finds the answer in what they print."""
        runbook = re.findall(r"^Runbook: (.*)$", text, re.MULTILINE)[0]
        page, began, outputs = (ROOT / runbook).read_text(), time.monotonic(), list[str]()
        for command in incident.commands:
            assert f"`{command}" in " ".join(page.split()), f"{runbook} does not name {command}"
            done = typed(command, self.shell, self.home)
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
        said = "\n".join(outputs)
        missing = [one for one in incident.answer if not re.search(one, " ".join(said.split()))]
        assert missing == [], said
        self._write(incident, text, runbook, outputs, time.monotonic() - began)

    def _write(self, incident: Incident, text: str, runbook: str, outputs: list[str], seconds: float) -> None:
        session = "\n".join(f"$ {command}\n{_cut(output)}" for command, output in zip(incident.commands, outputs, strict=True))
        page = f"[{Path(runbook).stem}]({runbook.removeprefix('docs/')})"
        self.written.extend(
            [
                f"## {incident.title}\n\nThe message:\n\n```text\n{text}\n```\n",
                f"The commands of its page, {page}:\n\n```console\n{session}\n```\n",
                f"The answer came {seconds:.0f} s after the message.\n",
            ]
        )


def _cut(output: str) -> str:
    """What a command printed, without the middle where it is long."""
    lines = output.rstrip().splitlines()
    left = len(lines) - 2 * _SHOWN
    return "\n".join(lines if left <= 0 else [*lines[:_SHOWN], f"… {left} lines …", *lines[-_SHOWN:]])


def _received(shell: Mapping[str, str], queue: str) -> Iterator[str]:
    sqs = _aws("sqs", shell)
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for one in found:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
            yield json.loads(one["Body"])["Message"]


def _aws(service: str, shell: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=shell["AWS_ENDPOINT_URL"],
        region_name=shell["AWS_REGION"],
        aws_access_key_id=shell["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=shell["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=shell["AWS_SESSION_TOKEN"],
    )


@contextmanager
def _served(folder: Path, shortage: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, str], str]]:
    """The servers, a topic and a queue behind it."""
    with running("demo", "--serve", "--scenario", str(short_scenario(folder, shortage)), variables={}, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        shell = dict(printed(server.stdout))
        sns, sqs = _aws("sns", shell), _aws("sqs", shell)
        topic, queue = sns.create_topic(Name="on-call")["TopicArn"], sqs.create_queue(QueueName="on-call")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        yield {**shell, "FAILOVERCTL_SNS__TOPIC_ARN": topic, "FAILOVERCTL_HTTP__PORT": "0", "FAILOVERCTL_HTTP__HOST": "127.0.0.1"}, queue


def _remembers(shell: Mapping[str, str]) -> bool:
    """Whether a leader has decided: its first decision stores its memory."""
    with closing(connect(kubeconfig=shell["KUBECONFIG"])) as session:
        try:
            return bool(session.get(CONFIG_MAPS, "failover-system", record_name(APPLICATION)))
        except NotFound:
            return False


def _page_of(alert: str) -> str:
    """What Alertmanager sends of an alert of Prometheus. That it fires is held by the rules' own tests."""
    groups = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())["groups"]
    found = next(rule["annotations"] for group in groups for rule in group["rules"] if rule.get("alert") == alert)
    return f"{alert}: {found['summary']} {found['description']}\nRunbook: docs/runbooks/{found['runbook']}.md"


def _leaderless(shell: Mapping[str, str]) -> bool:
    """Whether the lease is over."""
    with closing(connect(kubeconfig=shell["KUBECONFIG"])) as session:
        spec = session.get(LEASES, "failover-system", LEASE_NAME)["spec"]
    renewed = parse_rfc3339(spec["renewTime"])
    return renewed is not None and time.time() > renewed + spec["leaseDurationSeconds"]


@pytest.fixture
def written() -> Iterator[list[str]]:
    """The transcript, in the order of the incidents."""
    lines: list[str] = []
    yield lines
    if TRANSCRIPT:
        with Path(TRANSCRIPT).open("a") as page:
            page.write("\n" + "\n".join(lines))


@contextmanager
def _desk(home: Path, written: list[str], shortage: Mapping[str, Any]) -> Iterator[tuple[Desk, subprocess.Popen[str]]]:
    """A desk with a controller that leads."""
    with _served(home, shortage) as (shell, queue), running("run", variables=shell) as controller:
        wait_for("a controller that decides", partial(_remembers, shell), _SOON_S)
        yield Desk(shell, queue, home, written, []), controller


def test_a_page_at_night_is_answered_from_its_text(tmp_path: Path, written: list[str]) -> None:
    """A failover, a pause that nobody can read, an action that somebody deleted, and a dead controller."""
    with _desk(tmp_path, written, {}) as (desk, controller):
        desk.change(SCALED_OBJECTS, "sd21-inf2-hpa", {"spec": {"minReplicaCount": 14}})
        desk.follow(FAILED_OVER, desk.message(FAILED_OVER.reason))

        desk.change(INGRESSES, "sd21", {"metadata": {"annotations": {PAUSED_UNTIL: "tomorrow"}}})
        desk.follow(PAUSE, desk.message(PAUSE.reason))

        desk.change(INGRESSES, "sd21", {"metadata": {"annotations": {action_key("weighted-routing"): None}}})
        desk.follow(ACTION, desk.message(ACTION.reason))

        controller.kill()
        controller.wait(30)
        wait_for("an end of the lease", partial(_leaderless, desk.shell), _SOON_S)  # Prometheus says nothing for five minutes
        desk.follow(DEAD, _page_of(DEAD.reason))


def test_a_quota_that_is_used_up_is_named(tmp_path: Path, written: list[str]) -> None:
    """It never heals by waiting: the person has to know that, and what to ask for."""
    with _desk(tmp_path, written, {"code": "VcpuLimitExceeded"}) as (desk, _):
        desk.change(SCALED_OBJECTS, "sd21-inf2-hpa", {"spec": {"minReplicaCount": 14}})
        desk.follow(QUOTA, desk.message(QUOTA.reason))
