"""Slack against real HTTP receivers on loopback, and the dispatcher with it."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.dispatcher import Dispatcher
from controller.notifiers.endpoint import file_reader
from controller.notifiers.redact import Redactor
from controller.notifiers.render import view
from controller.notifiers.slack import SlackNotifier
from controller.notifiers.slack_blocks import blocks, fit
from controller.ports import MessageKind
from tests.notifiers.support import PATH, Answer, Hang, Receiver, Scripted, Slam, a_message, health, idle, leaks, receiving, until

Dispatch = Callable[..., Dispatcher]

UNRESOLVED = f"http://nonexistent.invalid{PATH}"


def failure(url: str, timeout_s: float = 5.0) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        SlackNotifier(url, timeout_s).send(a_message())
    return caught.value


def test_a_message_arrives_as_blocks_with_a_plain_text_fallback() -> None:
    with receiving() as receiver:
        SlackNotifier(SecretStr(receiver.url)).send(a_message(fields={"Epoch": "41"}))
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert {name.lower(): value for name, value in request.headers.items()}["user-agent"].startswith("failoverctl/")
    body = json.loads(request.body)
    assert body["text"].startswith("⚠ Warning · sd21: failed over to capacity mode\nWhy: inf2 cannot")
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "section", "section", "section"]
    assert body["blocks"][0]["text"]["text"] == "⚠ Warning · sd21: failed over to capacity mode"
    assert body["blocks"][2]["text"]["text"] == "*Cost*\n$3.10/h → $4.85/h (+56 %)"
    assert "*Epoch*\n41" in [field["text"] for field in body["blocks"][4]["fields"]]


def test_nothing_in_a_message_can_mention_people_or_make_links() -> None:
    with receiving() as receiver:
        SlackNotifier(receiver.url).send(a_message(title="<!channel>", why="a & b <https://evil.example|click>"))
    assert "<" not in receiver.requests[0].body
    assert "&lt;!channel&gt;" in receiver.requests[0].body
    assert "a &amp; b &lt;https://evil.example|click&gt;" in receiver.requests[0].body


def units(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


@given(st.text(alphabet=st.characters() | st.sampled_from("&<>😀")), st.integers(6, 40))
def test_a_text_for_slack_fits_and_no_entity_is_cut(text: str, limit: int) -> None:
    made = fit(text, limit)
    assert units(made) <= limit
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if units(whole) <= limit:
        assert made == whole
    else:
        assert made.endswith("…")
        assert whole.startswith(made[:-1])
        rest = made[:-1].replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set("&<>") & set(rest)


def test_slack_s_limits_hold_for_any_message() -> None:
    fields = {f"{'n' * 500}{number}": "<&>" * (700 if number < 9 else 1) for number in range(480)}
    made = blocks(view(a_message(title="&" * 5000, why="😀" * 5000, cost="<" * 5000, next="x" * 5000, fields=fields)))
    assert len(made) == 50
    assert units(made[0]["text"]["text"]) <= 150
    for block in made[1:]:
        assert units(block.get("text", {"text": "x"})["text"]) <= 3000
        assert len(block.get("fields", ())) <= 10
        assert all(units(field["text"]) <= 2000 for field in block.get("fields", ()))


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        pytest.param(Answer(400, "invalid_payload"), Rejected, "invalid_payload", id="400"),
        pytest.param(Answer(400, "no_service"), Rejected, "no_service", id="400-no-service"),
        pytest.param(Answer(403, "action_prohibited"), Forbidden, "action_prohibited", id="403"),
        pytest.param(Answer(404, "no_service\n"), Rejected, "no_service", id="404"),
        pytest.param(Answer(410, "channel_is_archived"), Rejected, "channel_is_archived", id="410"),
        pytest.param(Answer(500, "rollup_error"), Unavailable, "rollup_error", id="500"),
        pytest.param(Answer(503, f"<html>{PATH}</html>"), Unavailable, "", id="503-page-with-the-path"),
        pytest.param(Answer(429, "", {"Retry-After": "later"}), Unavailable, "", id="429-unreadable"),
        pytest.param(Answer(302, "", {"Location": f"http://127.0.0.1:1{PATH}"}), Rejected, "", id="redirect-is-not-followed"),
    ],
)
def test_answers_become_the_right_errors(answer: Answer, kind: type[RemoteError], code: str) -> None:
    with receiving(answer) as receiver:
        error = failure(receiver.url)
    assert (type(error), error.status, error.code, error.retry_after_s) == (kind, answer.status, code, None)
    assert len(receiver.requests) == 1, "retries are the dispatcher's business"


def test_a_429_says_how_long_to_wait() -> None:
    with receiving(Answer(429, "rate_limited", {"Retry-After": "30"})) as receiver:
        error = failure(receiver.url)
    assert (type(error), error.retry_after_s) == (Unavailable, 30.0)


def test_a_redirect_does_not_count_as_delivered() -> None:
    with receiving() as other, receiving(Answer(301, "", {"Location": other.url})) as receiver:
        assert isinstance(failure(receiver.url), Rejected)
    assert other.requests == []


def test_a_huge_reply_is_not_read() -> None:
    with receiving(Answer(500, "x" * 100, {"Content-Length": str(10**12)})) as receiver:
        assert isinstance(failure(receiver.url), Unavailable)


def test_a_receiver_that_hangs_is_given_up_after_the_time_out() -> None:
    with receiving(Hang()) as receiver:
        assert str(failure(receiver.url, 0.1)) == "slack: no answer in time"
        assert not receiver.release.is_set()


def test_a_connection_that_breaks_is_unavailable() -> None:
    with receiving(Slam()) as receiver:
        assert str(failure(receiver.url)) == "slack: the connection failed: RemoteDisconnected"
    assert str(failure(receiver.url)) == "slack: connection refused", "and so is a receiver that is gone"


def test_a_name_that_cannot_be_resolved_is_unavailable() -> None:
    error = failure(UNRESOLVED)
    assert (type(error), str(error)) == (Unavailable, "slack: the host name cannot be resolved")


def test_the_environment_s_proxy_is_used_and_no_proxy_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("http_proxy", proxy.host)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        SlackNotifier(UNRESOLVED).send(a_message())
        SlackNotifier(receiver.url).send(a_message())
    assert [request.path for request in proxy.requests] == [UNRESOLVED]
    assert [request.path for request in receiver.requests] == [PATH]


def test_a_receiver_without_a_certificate_is_unavailable() -> None:
    with receiving() as receiver:
        assert str(failure(receiver.url.replace("http:", "https:"), 1.0)).startswith("slack: TLS failed: ")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        f"ftp://h{PATH}",
        "https://h",
        f"https://{PATH}",
        f"https://h{PATH} x",
        f"https://h:1x{PATH}",
        f"https://[{PATH}",
        f"https://h{PATH}é",
    ],
)
def test_a_text_that_is_no_webhook_url_is_refused_without_being_shown(url: str) -> None:
    error = failure(url)
    assert isinstance(error, Rejected)
    assert not leaks(str(error))


@pytest.mark.parametrize("content", [b"\xff" + f"https://h{PATH}".encode(), f"h{PATH}".encode(), f"https://h{PATH} x".encode(), b""])
def test_a_file_without_a_url_is_an_error_that_does_not_show_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "webhook"
    file.write_bytes(content)
    with pytest.raises(RemoteError, match="webhook URL") as caught:
        SlackNotifier(file_reader(file)).send(a_message())
    assert not leaks(str(caught.value))


def test_the_url_is_read_anew_for_each_message(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    with receiving() as old, receiving() as new:
        redactor = Redactor()
        slack = SlackNotifier(file_reader(file), redactor=redactor)
        with pytest.raises(Unavailable, match=r"cannot be read: FileNotFoundError$"):
            slack.send(a_message())
        file.write_text(f"{old.url}\n")
        slack.send(a_message())
        file.write_text(f"{new.url}x\n")
        slack.send(a_message())
    assert [len(old.requests), len(new.requests)] == [1, 1]
    assert not leaks(redactor(f"{old.url} {new.url}x")), "the old one stays secret"


def test_an_error_carries_no_secret_in_chain_or_frames(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(Answer(500, PATH)) as receiver:
        errors = [failure(receiver.url), failure(UNRESOLVED), failure(f"gopher://h{PATH}")]
    for error in errors:
        assert (error.__cause__, error.__context__) == (None, None)
        shown = "".join(traceback.format_exception(error))
        assert not leaks(shown + repr(error) + repr(error.args))
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "controller" in frame.f_code.co_filename]
        assert frames
        assert not leaks("".join(repr(frame.f_locals) for frame in frames)), "loggers may print the variables of each frame"
    captured = capsys.readouterr()
    assert not leaks(caplog.text + captured.out + captured.err)


def test_the_notifier_does_not_show_its_url() -> None:
    slack = SlackNotifier(f"https://hooks.slack.com{PATH}")
    assert repr(slack) == "SlackNotifier(webhook_url=***, timeout_s=3.0)"
    assert not leaks(repr(vars(slack)))


# --- with the dispatcher ---

BROKEN: list[Any] = [
    pytest.param((Hang(),), id="hangs"),
    pytest.param((Answer(500, "server_error"),), id="500"),
    pytest.param((Answer(429, "rate_limited", {"Retry-After": "7"}),), id="429"),
    pytest.param((Slam(),), id="closes"),
    pytest.param((), id="unresolved"),
]


@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_slack_delays_nothing_is_tried_within_its_bound_and_is_visible(
    dispatch: Dispatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], script: tuple[Answer | Hang | Slam, ...]
) -> None:
    caplog.set_level(logging.DEBUG)
    other = Scripted("other")
    with receiving(*script) as receiver, capture_logs() as logs:
        url = receiver.url if script else UNRESOLVED
        slack = SlackNotifier(url, 0.1 if script and isinstance(script[0], Hang) else 10.0)  # a busy machine answers late
        dispatcher = dispatch(slack, other, attempts=3)
        dispatcher.publish(a_message(MessageKind.ALERT))
        assert other.next().kind is MessageKind.ALERT
        until(lambda: health(dispatcher, "slack").failed == 1)
        idle(dispatcher)
        if script:
            assert len(receiver.requests) == 3
        found = health(dispatcher, "slack")
        assert (found.ok, found.dead, found.sent, found.failed, found.retried, found.consecutive_failures) == (False, True, 0, 1, 2, 3)
        assert found.last_error.startswith("slack: ")
        alert = other.next()
        assert (alert.kind, alert.title, alert.why) == (
            MessageKind.ALERT,
            "notifications: slack does not deliver",
            f"{found.last_error}. Mode changes are not affected; every new message is tried again: check the sink's address and secret",
        )
    captured = capsys.readouterr()
    everything = [caplog.text, captured.out, captured.err, repr(logs), repr(dispatcher.health()), repr(alert), repr(slack)]
    assert "notifier.gave_up" in repr(logs)
    assert not leaks("".join(everything))


def test_publish_returns_while_the_receiver_holds_the_request_open(dispatch: Dispatch) -> None:
    other = Scripted("other")
    with receiving(Hang(), Answer()) as receiver:
        dispatcher = dispatch(SlackNotifier(receiver.url, 30.0), other)
        dispatcher.publish(a_message(title="1"))
        assert receiver.holding.wait(5)
        dispatcher.publish(a_message(title="2"))
        assert [other.next().title, other.next().title] == ["1", "2"]
        assert not receiver.release.is_set(), "the receiver still held the first request"
        assert health(dispatcher, "slack").queued == 2
        receiver.release.set()
        until(lambda: health(dispatcher, "slack").sent == 2)
        assert len(receiver.requests) == 3, "the first message was tried again"


def test_a_refusal_is_not_retried_and_the_log_on_the_terminal_has_no_url(dispatch: Dispatch, capsys: pytest.CaptureFixture[str]) -> None:
    with receiving(Answer(400, "no_service"), Answer()) as receiver:
        dispatcher = dispatch(SlackNotifier(receiver.url))
        dispatcher.publish(a_message(why=f"posting to {receiver.url} failed"))
        until(lambda: health(dispatcher, "slack").failed == 1)
        assert health(dispatcher, "slack").last_error == "slack: 400 no_service"
        dispatcher.publish(a_message(why=f"posting to {receiver.url} failed"))
        until(lambda: health(dispatcher, "slack").ok)
    assert [json.loads(request.body)["blocks"][1]["text"]["text"] for request in receiver.requests] == ["*Why*\nposting to *** failed"] * 2
    captured = capsys.readouterr()
    assert not leaks(captured.out + captured.err)


def test_a_receiver_closes_cleanly() -> None:
    receiver = Receiver(Hang())
    receiver.close()
    assert receiver.release.is_set()
