"""Slack's bot against an emulated Slack over HTTP: one message and one thread for each incident."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.digest import digest
from controller.notifiers.endpoint import file_reader
from controller.notifiers.redact import Redactor
from controller.notifiers.slack_threads import REPEAT_S, SlackThreads
from controller.ports import Message, MessageKind, Severity
from failover_testbed.slack import CHANNEL, TOKEN, SlackServer, emulated_slack
from tests.notifiers.support import START, a_message

FAILOVER = a_message(incident="default/sd21/mode")
STEP = a_message(
    MessageKind.CONTROL, severity=Severity.INFO, title="sd21: the way back is at step 1 of 2", incident="default/sd21/mode", at=START + 600
)
FALLBACK = a_message(
    MessageKind.FALLBACK,
    severity=Severity.INFO,
    title="sd21: fell back to cost mode",
    reason="CapacityReturned",
    incident="default/sd21/mode",
    at=START + 900,
)
ALERT = a_message(MessageKind.ALERT, title="sd21: Diverged", reason="Diverged", dedup_key="default/sd21/diverged")


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with emulated_slack() as server:
        yield server


def bot(slack: SlackServer, token: str = TOKEN, channel: str = "#alerts", redactor: Redactor | None = None) -> SlackThreads:
    return SlackThreads(lambda: token, channel, 5.0, api=slack.api, redactor=redactor or Redactor())


def headline(message: dict[str, Any]) -> str:
    text: str = message["blocks"][0]["text"]["text"]
    return text


def facts(message: dict[str, Any]) -> str:
    return " ".join(field["text"].replace("\n", " ") for block in message["blocks"] for field in block.get("fields", []))


def test_an_incident_is_one_message_with_a_thread_that_ends_resolved(slack: SlackServer) -> None:
    """The step of no consequence stays in the thread; the message in the channel shows at the end that it is over, and since when."""
    notifier = bot(slack)
    notifier.send(FAILOVER)
    (head,) = slack.heads()
    assert headline(head) == "⚠ Warning · sd21: failed over to capacity mode"
    notifier.send(STEP)
    notifier.send(FALLBACK)
    assert [(headline(reply), reply["reply_broadcast"]) for reply in slack.thread(head["ts"])] == [
        ("• Info · sd21: the way back is at step 1 of 2", False),
        ("• Info · sd21: fell back to cost mode", False),
    ]
    assert slack.heads() == [head]
    assert headline(head) == "✔ Resolved · sd21: failed over to capacity mode"
    assert "Over since* 2026-09-21T14:28:20Z" in facts(head)
    assert [method for method, _ in slack.calls] == ["chat.postMessage", "chat.postMessage", "chat.postMessage", "chat.update"]


def test_the_next_incident_begins_a_new_thread(slack: SlackServer) -> None:
    notifier = bot(slack)
    for message in (FAILOVER, FALLBACK, replace(FAILOVER, at=START + 5000)):
        notifier.send(message)
    assert len(slack.heads()) == 2


def test_a_warning_in_a_thread_is_shown_in_the_channel_too(slack: SlackServer) -> None:
    notifier = bot(slack)
    notifier.send(FAILOVER)
    notifier.send(a_message(MessageKind.ALERT, title="sd21: the way back is undone", incident="default/sd21/mode"))
    assert [reply["reply_broadcast"] for reply in slack.thread(slack.heads()[0]["ts"])] == [True]


def test_what_is_said_again_updates_the_message_and_reminds_people_after_an_hour(slack: SlackServer) -> None:
    notifier = bot(slack)
    notifier.send(ALERT)
    notifier.send(replace(ALERT, at=START + 600, why="it still differs"))
    (head,) = slack.messages
    assert head["edited"]
    assert "*Why*\nit still differs" in [block["text"]["text"] for block in head["blocks"][1:] if "text" in block]
    assert "Still so at* 2026-09-21T14:23:20Z" in facts(head)
    notifier.send(replace(ALERT, at=START + REPEAT_S + 1))
    (reply,) = slack.thread(head["ts"])
    assert reply["reply_broadcast"] is True


def test_two_alerts_have_a_thread_each(slack: SlackServer) -> None:
    notifier = bot(slack)
    other = replace(ALERT, dedup_key="default/sd21/unproven", title="sd21: Unproven")
    resolved = replace(other, kind=MessageKind.RESOLVED, severity=Severity.INFO, title="sd21: Unproven")
    for message in (ALERT, other, resolved):
        notifier.send(message)
    first, second = slack.heads()
    assert (headline(first)[0], headline(second)) == ("⚠", "✔ Resolved · sd21: Unproven")
    assert [headline(reply) for reply in slack.thread(second["ts"])] == ["✔ Resolved · sd21: Unproven"]


def test_what_is_over_when_it_is_reported_opens_no_thread(slack: SlackServer) -> None:
    """Nothing would end it, and the next one of its kind would be hidden as an update of an old message."""
    notifier = bot(slack)
    restored = a_message(MessageKind.ALERT, title="sd21: the routing action was restored", dedup_key="default/sd21/drift", over=True)
    notifier.send(restored)
    notifier.send(replace(restored, at=START + 60))
    assert len(slack.heads()) == 2


def test_a_test_message_is_posted(slack: SlackServer) -> None:
    bot(slack).send(a_message(MessageKind.TEST, title="sd21: test message, nothing has happened"))
    assert len(slack.heads()) == 1


def many(kind: MessageKind, count: int, **changes: Any) -> Message:
    names = [f"team/app-{number}" for number in range(count)]
    return digest([a_message(kind, application=name, title=f"{name}: x", incident=f"{name}/mode", **changes) for name in names])


def test_a_digest_is_one_thread_that_is_over_when_the_last_of_its_incidents_is(slack: SlackServer) -> None:
    notifier = bot(slack)
    notifier.send(many(MessageKind.FAILOVER, 40))
    (head,) = slack.heads()
    notifier.send(many(MessageKind.FALLBACK, 39, severity=Severity.INFO))
    assert headline(head) == "⚠ Warning · 40 applications: x"
    notifier.send(a_message(MessageKind.FALLBACK, severity=Severity.INFO, application="team/app-39", incident="team/app-39/mode"))
    assert headline(head) == "✔ Resolved · 40 applications: x"
    assert len(slack.thread(head["ts"])) == 2


def test_a_digest_over_several_threads_ends_each(slack: SlackServer) -> None:
    notifier = bot(slack)
    for number in range(3):
        notifier.send(a_message(application=f"team/app-{number}", incident=f"team/app-{number}/mode"))
    notifier.send(many(MessageKind.FALLBACK, 3, severity=Severity.INFO))
    assert [headline(head)[0] for head in slack.heads()] == ["✔", "✔", "✔", "•"]


def test_without_a_memory_of_the_thread_a_message_begins_one(slack: SlackServer) -> None:
    """After a restart or a change of the leader."""
    bot(slack).send(FAILOVER)
    bot(slack).send(FALLBACK)
    assert [headline(head) for head in slack.heads()] == [
        "⚠ Warning · sd21: failed over to capacity mode",
        "• Info · sd21: fell back to cost mode",
    ]


def test_a_thread_that_a_person_deleted_is_replaced(slack: SlackServer) -> None:
    notifier = bot(slack)
    notifier.send(ALERT)
    slack.delete(slack.heads()[0]["ts"])
    notifier.send(replace(ALERT, at=START + 60))
    (head,) = slack.heads()
    slack.delete(head["ts"])
    notifier.send(replace(ALERT, at=START + 120, severity=Severity.CRITICAL))
    (head,) = slack.heads()
    notifier.send(replace(ALERT, kind=MessageKind.RESOLVED, severity=Severity.INFO))
    assert len(slack.thread(head["ts"])) == 1


def test_a_head_that_cannot_be_updated_now_is_with_the_next_message(slack: SlackServer) -> None:
    """The message was delivered: a retry of it would say it twice."""
    notifier = bot(slack)
    notifier.send(FAILOVER)
    slack.fault = lambda method: (429, {"Retry-After": "30"}, "") if method == "chat.update" else None
    notifier.send(FALLBACK)
    assert headline(slack.heads()[0])[0] == "⚠"
    slack.fault = lambda _: None
    notifier.send(a_message(MessageKind.TEST))
    assert headline(slack.heads()[0])[0] == "✔"


def test_a_workspace_that_forbids_edits_still_gets_every_message(slack: SlackServer) -> None:
    notifier = bot(slack)
    notifier.send(FAILOVER)
    closed = json.dumps({"ok": False, "error": "edit_window_closed"})
    slack.fault = lambda method: (200, {}, closed) if method == "chat.update" else None
    notifier.send(FALLBACK)
    notifier.send(a_message(MessageKind.TEST))
    assert [method for method, _ in slack.calls].count("chat.update") == 1, "it is not tried again"


def failure(notifier: SlackThreads) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        notifier.send(FAILOVER)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "code", "wait"),
    [
        pytest.param((429, {"Retry-After": "30"}, ""), Unavailable, "", 30.0, id="429"),
        pytest.param((503, {}, "<html>"), Unavailable, "", None, id="503"),
        pytest.param((200, {}, '{"ok": false, "error": "internal_error"}'), Unavailable, "internal_error", None, id="busy"),
        pytest.param((200, {}, '{"ok": false, "error": "token_revoked"}'), Forbidden, "token_revoked", None, id="revoked"),
        pytest.param((200, {}, '{"ok": false, "error": "missing_scope"}'), Forbidden, "missing_scope", None, id="scope"),
        pytest.param((200, {}, '{"ok": false, "error": "is_archived"}'), Rejected, "is_archived", None, id="archived"),
        pytest.param((200, {}, '{"ok": false, "error": "<a page>"}'), Rejected, "", None, id="no code"),
        pytest.param((200, {}, '{"ok": 1}'), Rejected, "", None, id="not true"),
        pytest.param((200, {}, "ok"), Unavailable, "", None, id="no JSON"),
        pytest.param((200, {}, "[" * 100_000), Unavailable, "", None, id="nested"),
        pytest.param((302, {"Location": "http://127.0.0.1:1/"}, ""), Rejected, "", None, id="redirect"),
    ],
)
def test_answers_become_the_right_errors(
    slack: SlackServer, answer: tuple[int, dict[str, str], str], kind: type[RemoteError], code: str, wait: float | None
) -> None:
    slack.fault = lambda _: answer
    error = failure(bot(slack))
    assert (type(error), error.code, error.retry_after_s) == (kind, code, wait)
    assert len(slack.calls) == 1


def test_what_is_missing_is_named(slack: SlackServer) -> None:
    assert str(failure(bot(slack, channel="#other"))) == "slack: chat.postMessage: channel_not_found"
    assert str(failure(bot(slack, token="xoxb-another-token"))) == "slack: chat.postMessage: invalid_auth"
    slack.member = False
    assert str(failure(bot(slack))) == "slack: chat.postMessage: not_in_channel"


def test_the_token_is_read_anew_and_never_shown(slack: SlackServer, tmp_path: Path) -> None:
    file, redactor = tmp_path / "token", Redactor()
    notifier = SlackThreads(file_reader(file), "#alerts", 5.0, api=slack.api, redactor=redactor)
    assert isinstance(failure(notifier), Unavailable)
    for wrong in ("", "short", "xoxb with a blank"):
        file.write_text(wrong)
        assert isinstance(failure(notifier), Rejected)
    file.write_text(f"{TOKEN}\n")
    notifier.send(FAILOVER)
    slack.fault = lambda _: (500, {}, TOKEN)
    error = failure(notifier)
    shown = "".join(traceback.format_exception(error)) + repr(error.args) + repr(notifier)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "controller" in frame.f_code.co_filename]
    assert TOKEN not in shown + "".join(repr(frame.f_locals) for frame in frames)
    assert redactor(f"a text with {TOKEN}") == "a text with ***"


# --- the emulated Slack is what Slack's own client takes it for ---


def test_slack_s_own_client_finds_the_emulated_slack_to_be_one(slack: SlackServer) -> None:
    client = WebClient(token=TOKEN, base_url=f"{slack.api}/")
    posted = client.chat_postMessage(channel="#alerts", text="a", blocks=[{"type": "header", "text": {"type": "plain_text", "text": "a"}}])
    client.chat_postMessage(channel=posted["channel"], text="b", thread_ts=posted["ts"])
    client.chat_update(channel=posted["channel"], ts=posted["ts"], text="c")
    assert [message["text"] for message in slack.messages] == ["c", "b"]
    stranger = WebClient(token="xoxb-no", base_url=f"{slack.api}/")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: client.chat_postMessage(channel="#none", text="a"), "channel_not_found"),
        (lambda: client.chat_postMessage(channel=CHANNEL, text="a", thread_ts="1.2"), "thread_not_found"),
        (lambda: client.chat_update(channel=CHANNEL, ts="1.2", text="a"), "message_not_found"),
        (lambda: stranger.chat_postMessage(channel=CHANNEL, text="a"), "invalid_auth"),
    ]
    for call, code in calls:
        with pytest.raises(SlackApiError) as caught:
            call()
        assert caught.value.response["error"] == code
    assert WebhookClient(slack.webhook).send(text="d").status_code == 200
    assert slack.messages[-1]["text"] == "d"
