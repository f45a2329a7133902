"""The generic webhook against a receiver on loopback: versioned JSON, a signature, bounded answers, and no URL in any text."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.document import SCHEMA, message_document
from controller.notifiers.endpoint import file_reader
from controller.notifiers.redact import Redactor
from controller.notifiers.webhook import SIGNATURE, WebhookNotifier
from controller.ports import Message, MessageKind, Severity
from tests.notifiers.support import START, TOKEN, Answer, Receiver, Slam

FAILOVER = Message(
    kind=MessageKind.FAILOVER,
    severity=Severity.WARNING,
    application="shop/sd21",
    reason="ShortageProven",
    title="sd21: failed over to capacity mode",
    why="inf2 cannot get capacity",
    at=START,
    cost="$3.10/h → $4.85/h (+56 %)",
    next="back once capacity has returned",
    mode="capacity",
    by="the controller",
    incident="shop/sd21/mode",
    cluster="prod",
    runbook="https://wiki.example/runbooks/failed-over.md",
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def _webhook(receiver: Receiver) -> WebhookNotifier:
    return WebhookNotifier(receiver.url, 2.0, redactor=Redactor())


def test_the_body_is_the_documented_json(receiver: Receiver) -> None:
    """Every field, also the empty ones: a receiver never has to ask whether one is there."""
    _webhook(receiver).send(FAILOVER)
    (request,) = receiver.requests
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert (
        json.loads(request.body)
        == message_document(FAILOVER)
        == {
            "schema": SCHEMA,
            "id": message_document(FAILOVER)["id"],
            "kind": "failover",
            "severity": "warning",
            "incident": "prod/shop/sd21/mode",
            "status": "open",
            "at": "2026-09-21T14:13:20Z",
            "cluster": "prod",
            "application": "shop/sd21",
            "mode": "capacity",
            "reason": "ShortageProven",
            "title": "sd21: failed over to capacity mode",
            "why": "inf2 cannot get capacity",
            "cost": "$3.10/h → $4.85/h (+56 %)",
            "by": "the controller",
            "next": "back once capacity has returned",
            "runbook": "https://wiki.example/runbooks/failed-over.md",
            "fields": {},
            "text": "⚠ Warning · sd21: failed over to capacity mode\nWhy: inf2 cannot get capacity\nCost: $3.10/h → $4.85/h (+56 %)\n"
            "Next: back once capacity has returned\nRunbook: https://wiki.example/runbooks/failed-over.md",
        }
    )


@pytest.mark.parametrize(
    ("first", "then"), [(MessageKind.FAILOVER, MessageKind.FALLBACK), (MessageKind.ALERT, MessageKind.RESOLVED)], ids=str
)
def test_a_resolution_has_the_incident_of_what_it_resolves(first: MessageKind, then: MessageKind) -> None:
    """PagerDuty, Opsgenie and the like close an incident by its key."""
    opened, closed = (message_document(replace(FAILOVER, kind=kind, incident="", dedup_key="shop/sd21/x")) for kind in (first, then))
    assert opened["incident"] == closed["incident"] == "prod/shop/sd21/x"
    assert (opened["status"], closed["status"]) == ("open", "resolved")
    assert opened["id"] != closed["id"]


def test_a_body_is_signed_with_the_shared_key(receiver: Receiver, tmp_path: Path) -> None:
    """The receiver computes the same HMAC of what it received."""
    key, url = tmp_path / "key", tmp_path / "url"
    key.write_text("shared\n")
    url.write_text(f"{receiver.url}\n")
    WebhookNotifier(file_reader(url), 2.0, key=file_reader(key), redactor=Redactor()).send(FAILOVER)
    (request,) = receiver.requests
    assert request.headers[SIGNATURE] == "sha256=" + hmac.new(b"shared", request.body.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(500), Unavailable),
        (Answer(429, headers={"Retry-After": "7"}), Unavailable),
        (Answer(403), Forbidden),
        (Answer(404), Rejected),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/x"}), Rejected),
        (Slam(), Unavailable),
    ],
    ids=["500", "429", "403", "404", "redirect", "no answer"],
)
def test_what_is_not_taken_is_an_error_without_the_url(answer: Answer | Slam, error: type[RemoteError]) -> None:
    """Only what had no usable answer may be tried again."""
    receiver = Receiver(answer)
    try:
        with pytest.raises(error) as raised:
            _webhook(receiver).send(FAILOVER)
    finally:
        receiver.close()
    assert TOKEN not in str(raised.value) + repr(raised.value.__cause__) + repr(raised.value.__context__)
    assert TOKEN not in repr(_webhook(receiver))


def test_a_missing_file_is_tried_again_and_a_text_that_is_no_url_is_not(tmp_path: Path) -> None:
    """The Secret may be mounted later."""
    with pytest.raises(Unavailable, match="cannot be read: FileNotFoundError"):
        WebhookNotifier(file_reader(tmp_path / "absent"), redactor=Redactor()).send(FAILOVER)
    with pytest.raises(Rejected, match="not an http"):
        WebhookNotifier("not a url", redactor=Redactor()).send(FAILOVER)
    with pytest.raises(Rejected, match="not an http"):
        WebhookNotifier("short", redactor=Redactor()).send(FAILOVER)


def test_what_is_over_when_it_is_reported_opens_no_incident() -> None:
    """A pager would wait for a resolution that never comes."""
    alert = replace(FAILOVER, kind=MessageKind.ALERT, incident="", dedup_key="shop/sd21/drift")
    assert message_document(alert)["status"] == "open"
    assert message_document(replace(alert, over=True))["status"] == "info"
