"""Slack through a bot: one message for each incident, and a thread under it.

``chat.postMessage`` answers with the ``ts`` of what it posted, which ``thread_ts`` of a reply and ``chat.update`` name. What was posted is
kept in memory only: after a restart or a change of the leader, the next message about an incident begins a new thread
(docs/decisions/0018-threads-in-memory.md says why).

The bot's token is a password. It is only in the header of the request, which no exception carries.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

import structlog

from controller.clock import format_rfc3339
from controller.errors import Forbidden, Rejected, RemoteError, Unavailable
from controller.notifiers.digest import parts
from controller.notifiers.endpoint import Secret, error_code, exchange
from controller.notifiers.incident import Status, incident, status
from controller.notifiers.redact import DEFAULT, MASK, MIN_SECRET, Redactor
from controller.notifiers.render import RESOLVED, View, view
from controller.notifiers.slack_blocks import blocks, fallback_text
from controller.ports import Message, Severity

API: Final = "https://slack.com/api"
"""GovSlack's is https://slack-gov.com/api."""
REPEAT_S: Final = 3600.0
"""For how long a message that says the same again only updates the first. Later it is a reply, which people see."""

_INCIDENTS: Final = 16_384  # as many as one digest may be about, and more
_UPDATES: Final = 20  # in one delivery; chat.update allows about 50 a minute
_MAX_REPLY: Final = 262_144  # the answer repeats the message with its blocks
_BUSY: Final = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"})
_FORBIDDEN: Final = frozenset(
    {
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope", "no_permission",
        "not_in_channel", "access_denied", "ekm_access_denied", "org_login_required", "team_access_not_granted",
    }
)  # fmt: skip
_GONE: Final = frozenset({"thread_not_found", "message_not_found", "cannot_reply_to_message"})

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Head:
    """The message that a thread hangs on.

    Attributes:
        channel: Where it is, as Slack's answer names it: chat.update takes no name.
        ts: Its name within the channel.
        shown: What it shows.
        subject: What it says; an equal message repeats it.
        at: When it was last posted or replied to, seconds since the Unix epoch.
        incidents: Those that are not over.
    """

    channel: str
    ts: str
    shown: View
    subject: tuple[str, ...]
    at: float
    incidents: set[str] = field(default_factory=set)


class SlackThreads:
    """Posts messages to one Slack channel as a bot with the scope ``chat:write``.

    Args:
        token: Reads the bot's token, anew for each message.
        channel: Name or ID of the channel.
        timeout_s: Time-out for connecting, sending and each receive, seconds.
        api: Where the Web API is, a URL without the last slash.
        redactor: Where the token is registered, so that it is masked in every other text.
    """

    name = "slack"
    takes_digests = True

    def __init__(
        self, token: Callable[[], str], channel: str, timeout_s: float = 3.0, *, api: str = API, redactor: Redactor = DEFAULT
    ) -> None:
        self._token = Secret(token, _is_token, "the file holds no token", redactor)
        self._channel, self._timeout_s, self._api = channel, timeout_s, api
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._stale: OrderedDict[str, _Head] = OrderedDict()  # heads that no longer show what is so, by ts

    def __repr__(self) -> str:
        return f"SlackThreads(token={MASK}, channel={self._channel!r}, timeout_s={self._timeout_s})"

    def send(self, message: Message) -> None:
        """Posts one message, or replies in the thread of its incident, or updates the message that it repeats.

        A reply that is a warning or worse is also shown in the channel. A digest begins one thread for all its incidents.

        Raises:
            Unavailable: No usable answer, 429, 5xx, or Slack says that it is busy; or the token could not be read.
            Forbidden: The token is not valid, or the bot may not post there, e.g. ``not_in_channel``.
            Rejected: Any other answer, e.g. ``channel_not_found``.
        """
        keys = list(dict.fromkeys(incident(part) for part in parts(message)))
        heads = {self._heads[key].ts: self._heads[key] for key in keys if key in self._heads}
        whole = next(iter(heads.values())) if len(heads) == 1 and all(key in self._heads for key in keys) else None
        if whole is None or not self._repeated(whole, message):
            self._post(message, keys, whole)
        if status(message) is Status.RESOLVED:
            self._over(keys, message)
        self._refresh()

    def _repeated(self, head: _Head, message: Message) -> bool:
        """Whether the message repeats the head, which then says until when it is so."""
        if head.subject != _subject(message) or message.at - head.at > REPEAT_S:
            return False
        shown = view(message)
        head.shown = replace(shown, facts=(*shown.facts, ("Still so at", format_rfc3339(message.at))))
        return self._updated(head)

    def _post(self, message: Message, keys: Iterable[str], head: _Head | None) -> None:
        """Posts a message as a reply to the head, or as a new one where there is none or Slack no longer has it."""
        shown = view(message)
        content = {"channel": self._channel, **_content(shown), "unfurl_links": False, "unfurl_media": False}
        if head is not None:
            reply = {**content, "channel": head.channel, "thread_ts": head.ts, "reply_broadcast": message.severity is not Severity.INFO}
            try:
                self._ask("chat.postMessage", reply)
            except Rejected as error:
                if error.code not in _GONE:
                    raise
                self._forget(head)
            else:
                head.at = message.at
                return
        answer = self._ask("chat.postMessage", content)
        if status(message) is Status.OPEN:
            made = _Head(str(answer.get("channel", "")), str(answer.get("ts", "")), shown, _subject(message), message.at)
            for key in keys:
                self._open(key, made)

    def _open(self, key: str, head: _Head) -> None:
        head.incidents.add(key)
        self._heads[key] = head
        self._heads.move_to_end(key)
        if len(self._heads) > _INCIDENTS:
            self._heads.popitem(last=False)

    def _over(self, keys: Iterable[str], message: Message) -> None:
        """Ends incidents; a head of which all are over is to show that."""
        for key in keys:
            head = self._heads.pop(key, None)
            if head is None:
                continue
            head.incidents.discard(key)
            if not head.incidents:
                facts = (*head.shown.facts, ("Over since", format_rfc3339(message.at)))
                head.shown = replace(head.shown, mark=RESOLVED, facts=facts)
                self._stale[head.ts] = head

    def _refresh(self) -> None:
        """Updates heads as far as Slack allows now. The message itself is delivered already, so a failure is not one of the delivery."""
        for head in list(self._stale.values())[:_UPDATES]:
            try:
                self._updated(head)
            except Unavailable:
                return  # with the next message
            except RemoteError as error:
                _log.info("slack.not_updated", code=error.code)
            del self._stale[head.ts]
        while len(self._stale) > _INCIDENTS:
            self._stale.popitem(last=False)

    def _updated(self, head: _Head) -> bool:
        """Updates a head; returns whether Slack still has it."""
        try:
            self._ask("chat.update", {"channel": head.channel, "ts": head.ts, **_content(head.shown)})
        except Rejected as error:
            if error.code not in _GONE:
                raise
            self._forget(head)
            return False
        return True

    def _forget(self, head: _Head) -> None:
        for key in head.incidents:
            if self._heads.get(key) is head:
                del self._heads[key]

    def _ask(self, method: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        def authorized(token: str) -> tuple[str, dict[str, str]]:
            return f"{self._api}/{method}", {"Authorization": f"Bearer {token}", "Content-Type": "application/json;charset=utf-8"}

        answered = exchange(self.name, self._token, authorized, json.dumps(content).encode(), self._timeout_s, _MAX_REPLY)
        answer = _read(method, answered) if isinstance(answered, str) else answered
        if isinstance(answer, RemoteError):
            raise answer
        return answer


def _is_token(text: str) -> bool:
    return len(text) >= MIN_SECRET and text.isascii() and text.isprintable() and " " not in text


def _read(method: str, text: str) -> Mapping[str, Any] | RemoteError:
    """The answer, or the error that it names: Slack answers errors with 200 and ``"ok": false``."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return Unavailable(f"slack: {method}: the answer is no JSON object", status=HTTPStatus.OK)
    if answer.get("ok") is True:
        return answer
    code = error_code(str(answer.get("error", "")))
    kind = Unavailable if code in _BUSY else Forbidden if code in _FORBIDDEN or code.startswith("restricted_action") else Rejected
    return kind(f"slack: {method}: {code or 'refused'}", status=HTTPStatus.OK, code=code)


def _content(shown: View) -> dict[str, Any]:
    return {"text": fallback_text(shown), "blocks": blocks(shown)}


def _subject(message: Message) -> tuple[str, ...]:
    return str(message.kind), str(message.severity), message.application, message.reason, message.title
