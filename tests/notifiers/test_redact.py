"""Secrets are masked anywhere in a text; ordinary text stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.notifiers import redact as redact_module
from controller.notifiers.redact import MASK, MIN_SECRET, Redactor, _strings, redact, redacting_processor
from tests.notifiers.support import PATH, TOKEN, leaks

SECRET_TEXTS = st.text(min_size=MIN_SECRET, max_size=40)


@given(st.lists(SECRET_TEXTS, min_size=1, max_size=3), st.lists(st.one_of(st.text(max_size=20), st.just(None)), max_size=8), st.randoms())
@example(["******"], [None, None, "***"], None)
@example(["AKIAABCDEFGHIJKLMNOP-and-a-rest"], [None], None)
@example([f"bearer {MASK}"], ["bearer abcdefgh12345"], None)
def test_no_registered_secret_gets_through_in_any_context(secrets: list[str], parts: list[str | None], random: Any) -> None:
    redactor = Redactor(secrets)
    text = "".join((random.choice(secrets) if random else secrets[0]) if part is None else part for part in parts)
    clean = redactor(text)
    assert not [secret for secret in secrets if secret in clean]
    assert redactor(clean) == clean, "redacting twice changes nothing"


@given(SECRET_TEXTS)
def test_no_registered_secret_gets_through_as_json_or_repr_writes_it(secret: str) -> None:
    redactor = Redactor([secret])
    for encode in (json.dumps, repr, lambda text: json.dumps(text, ensure_ascii=False)):
        encoder: Callable[[str], str] = encode
        written = encoder(secret)[1:-1]
        assert written not in redactor(f"before {encoder(secret)} after")


@given(st.text(max_size=200))
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redact(text), str)


_FRAGMENTS = st.sampled_from([
    "hooks.slack.com/", "/services/T1/B2/c3", "xoxb-1234567890", "AKIA", "ABCDEFGHIJKLMNOP", "secret_access_key=", "SESSION_TOKEN: ",
    "abcdefgh12", "X-Amz-Signature=", "authorization: ", "Bearer ", "k8s-aws-v1.", "eyJhbGciOiJ", ".", "://", "user:pw", "@", "\u00a0",
    "\u2028", " ", "é",
])  # fmt: skip
_ODD = str.maketrans({"i": "\u0131", "I": "\u0130", "s": "\u017f", "k": "\u212a"})
_CHANGES = st.sampled_from([str, str.upper, str.swapcase, lambda text: text.translate(_ODD)])


@given(st.lists(st.tuples(_FRAGMENTS, _CHANGES), max_size=8))
@example([("authorization: ", lambda text: text.translate(_ODD)), ("abcdefgh12", str)])
@example([("Bearer", str), ("\u00a0", str), ("abcdefgh12", str)])
def test_no_pattern_is_left_out_that_would_find_something(parts: list[tuple[str, Callable[[str], str]]]) -> None:
    """A search that does not regard case takes some letters of other alphabets for ASCII's."""
    text = "".join(change(part) for part, change in parts)
    searched = text
    for pattern in redact_module._PATTERNS:
        searched = pattern.search.sub(rf"\g<1>{MASK}", searched)
    assert Redactor()(text) == searched


_RISKY = st.sampled_from(
    ['aws_secret_access_key": "', "wJalrXUtnFEMI", "authorization: ", '"Bearer ', "eyJhbGciOiJ.eyJzdWIi.c2ln", "\n", "\\", TOKEN]
)
_TEXTS = st.lists(_RISKY | st.text(max_size=4), max_size=5).map("".join)
_DOCUMENTS = st.recursive(
    st.none() | st.floats(allow_nan=False) | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS | st.just("password"), inner, max_size=3),
    max_leaves=6,
)


@given(_DOCUMENTS)
def test_a_json_document_is_masked_string_by_string_and_stays_one(document: Any) -> None:
    """Escaped quotes hide no secret, and no mask removes a quote; a document without a secret keeps every byte."""
    redactor = Redactor([TOKEN])
    text = json.dumps(document)
    clean = redactor.document(text)
    strings = list(_strings(json.loads(clean)))
    assert [one for one in strings if redactor(one) != one] == []
    if all(redactor(one) == one for one in _strings(document)) and "password" not in text:
        assert json.loads(clean) == document


@given(st.dictionaries(_TEXTS | st.just("password"), _TEXTS | st.none() | st.integers(), max_size=4))
def test_a_log_event_is_masked_string_by_string(event: dict[str, Any]) -> None:
    """However many of its strings have nothing to mask."""
    redactor = Redactor([TOKEN])

    def masked(name: str, value: str | int | None) -> str | int | None:
        if not isinstance(value, str):
            return value
        return MASK if name == "password" else redactor(value)

    expected = {redactor(name): masked(name, value) for name, value in event.items()}
    assert redactor.processor(None, "info", dict(event)) == expected


def test_parts_of_a_registered_url_are_secret_by_themselves() -> None:
    redactor = Redactor([f"https://user:pa55word-x@hooks.example.org:8443{PATH}?key=0123456789abcdef"])
    assert len(redactor._known) == 1
    for text in (
        f"Max retries exceeded with url: {PATH} (Caused by ...)",
        f"token {TOKEN}!",
        f"https%3A%2F%2Fhooks.example.org{PATH.replace('/', '%2F')}",
        f"POST {PATH}?key=0123456789abcdef HTTP/1.1",
    ):
        assert not leaks(redactor(text)), text
    assert "pa55word-x" not in redactor("password is pa55word-x")
    assert "0123456789abcdef" not in redactor("key=0123456789abcdef")


def test_no_character_of_a_secret_stays_beside_its_mask() -> None:
    """However it is escaped: as JSON, as Python shows it, and as a URL has it, with or without its slashes."""
    secret = 'pass"word\\ \n/☃/é'
    redactor = Redactor([secret])
    for written in (
        *(secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]),
        *(quote(secret), quote(secret, safe="")),
    ):
        assert redactor(f"before {written} after") == f"before {MASK} after"


def test_the_longest_secret_is_masked_first() -> None:
    """Else the rest of it would stay readable."""
    assert Redactor(["abcdef", "abcdefghi", "defghi"])("abcdefghi and abcdef") == f"{MASK} and {MASK}"


def test_only_what_is_long_enough_of_a_url_is_secret_by_itself() -> None:
    """Six characters are; the host is none of it, nor is any part of a text that is no URL."""
    redactor = Redactor(["https://hooks.example.org/abcde?k=1234", f"https://example.org/x/{'t' * 16}", "https://[", "urgent:capacity"])
    assert redactor("/abcde") == MASK
    assert redactor("/abcde?k=1234") == MASK, "as one"
    assert redactor("k=1234") == MASK
    assert redactor("t" * 16) == MASK
    for text in ("abcde hooks.example.org", "t" * 15, "no capacity"):
        assert redactor(text) == text


@pytest.mark.parametrize("depth", [12, 13])
def test_a_deep_document_keeps_its_form_as_far_as_it_is_searched(depth: int) -> None:
    """And no secret, however deep it is: what lies deeper is one text."""
    nested: Any = {"a": TOKEN}
    for _ in range(depth - 1):
        nested = [nested]
    text = Redactor([TOKEN]).document(json.dumps(nested))
    inner = f'{{"a":"{MASK}"}}' if depth <= 12 else f"\"{{'a': '{MASK}'}}\""
    assert text == "[" * (depth - 1) + inner + "]" * (depth - 1)


@pytest.mark.parametrize("depth", [12, 13])
def test_a_deep_log_event_keeps_its_form_as_far_as_it_is_searched(depth: int) -> None:
    """By name, too."""
    value: Any = ("end", TOKEN)
    for _ in range(depth - 1):
        value = {"in": value}
    found = Redactor([TOKEN]).processor(None, "info", {"value": value})["value"]
    for _ in range(depth - 1):
        found = found["in"]
    assert found == (["end", MASK] if depth <= 12 else f"('end', '{MASK}')")


def test_no_part_of_a_document_is_passed_over() -> None:
    """A secret in one of several objects, wherever."""
    for document in ([{"a": TOKEN}, {"b": "c"}], [{"b": "c"}, {"a": TOKEN}], [TOKEN, {"b": "c"}], {"a": [TOKEN], "b": {"c": "d"}}):
        assert not leaks(Redactor([TOKEN]).document(json.dumps(document)))


def test_a_document_without_a_secret_keeps_every_byte() -> None:
    """Its spaces, too."""
    assert Redactor([TOKEN]).document('{ "a" : 1 }') == '{ "a" : 1 }'


def test_a_document_with_a_secret_keeps_its_other_texts() -> None:
    """Each character as it was."""
    assert Redactor([TOKEN]).document(json.dumps({"a": TOKEN, "b": "é☃"})) == f'{{"a":"{MASK}","b":"é☃"}}'


@pytest.mark.parametrize("name", ["password", "Authorization", "SLACK_WEBHOOK_URL"])
def test_what_a_name_calls_a_secret_is_masked_however_short_and_deep_it_is(name: str) -> None:
    """In each entry of a list, too."""
    for value, masked in (("short", MASK), (["short", 5], [MASK, 5]), ({"inner": "short"}, {"inner": "short"})):
        assert json.loads(Redactor().document(json.dumps({"outer": [{name: value}]}))) == {"outer": [{name: masked}]}


def test_a_short_last_segment_is_a_word_and_stays_readable() -> None:
    assert Redactor(["https://example.org/a/webhook"])("the webhook answers") == "the webhook answers"


def test_a_secret_that_is_too_short_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="at least 6") as caught:
        Redactor(["abcde"])
    assert "abcde" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("to https://hooks.slack.com/services/T0/B0/xyz, then", f"to https://hooks.slack.com/{MASK} then", id="slack"),
        pytest.param("hooks.slack-gov.com/workflows/T0/A0/1/x", f"hooks.slack-gov.com/{MASK}", id="slack-gov"),
        pytest.param("https%3A%2F%2Fhooks.slack.com%2Fservices%2FT0", f"https%3A%2F%2Fhooks.slack.com%2F{MASK}", id="slack-quoted"),
        pytest.param("url: /services/T0AB/B0CD/xYz123 (Caused by", f"url: /services/{MASK} (Caused by", id="slack-path"),
        pytest.param("xoxb-123456789012-abcdef", MASK, id="slack-token"),
        pytest.param("key AKIAIOSFODNN7EXAMPLE refused", f"key {MASK} refused", id="aws-key"),
        pytest.param("ASIAIOSFODNN7EXAMPLE", MASK, id="aws-temporary-key"),
        pytest.param("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", f"aws_secret_access_key = {MASK}", id="aws-secret"),
        pytest.param('"SessionToken": "IQoJb3JpZ2luX2Vj"', f'"SessionToken": "{MASK}"', id="aws-session"),
        pytest.param("?X-Amz-Signature=abc123&X-Amz-Date=1", f"?X-Amz-Signature={MASK}&X-Amz-Date=1", id="aws-presigned"),
        pytest.param("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}", id="header"),
        pytest.param("{'authorization': 'Basic dXNlcjpwdw=='}", f"{{'authorization': 'Basic {MASK}'}}", id="header-repr"),
        pytest.param("used bearer abcdefgh12345", f"used bearer {MASK}", id="bearer"),
        pytest.param("k8s-aws-v1.aHR0cHM6Ly9zdHM", MASK, id="eks-token"),
        pytest.param("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJl.c2ln", MASK, id="jwt"),
        pytest.param("found token-eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJl.c2ln", f"found {MASK}", id="jwt behind a dash"),
        pytest.param("proxy http://user:p@ss@proxy:3128/x", f"proxy http://{MASK}@proxy:3128/x", id="basic-auth"),
        pytest.param("proxy http://user:p/ss@proxy:3128/x", f"proxy http://{MASK}@proxy:3128/x", id="a slash in a password"),
        pytest.param("Authorization: Token abcdef", f"Authorization: Token {MASK}", id="another scheme"),
        pytest.param("x-api-key: abcdef", f"x-api-key: {MASK}", id="api-key"),
        pytest.param("SignedHeaders=host, Signature=0123456789abcdef01", f"SignedHeaders=host, Signature={MASK}", id="sigv4"),
    ],
)
def test_a_text_that_matches_a_pattern_is_masked(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "inf2 cannot get capacity (capacity: InsufficientInstanceCapacity) while 3 pod(s) wait for it",
        "GET /api/v1/namespaces/default/services/sd21: 404",
        "arn:aws:sns:eu-west-1:123456789012:ops",
        "https://example.org/path?x=1#f and mail to someone@example.org",
        "the bearer of news",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece",
    [
        *("://", "a:", "bearer ", "/services/", "/services/T", "/services/TA/A", "eyJaaaaaaaa.", "eyJaaaaaaaa-", "eyJ-", "hooks.slack.com"),
        *("authorization:", "authorization: bearer ", "xoxb-", "AKIA", "aws_secret_access_key", "aws_session_token ", "k8s-aws-v1."),
        *("X-Amz-Signature=", "a", " ", "://a", "://a:", "signature=", "x-api-key:", "-"),
    ],
)
def test_a_long_text_takes_linear_time(piece: str) -> None:
    """The time-out is the assertion: with a pattern that is quadratic, 400,000 characters take minutes."""
    redact(piece * (400_000 // len(piece)))


class Talkative:
    def __repr__(self) -> str:
        return f"Talkative(url={PATH})"


class Shown:
    """What it prints to people and what it prints to programmers differ."""

    def __init__(self, to_people: str, to_programmers: str) -> None:
        self._to_people, self._to_programmers = to_people, to_programmers

    def __str__(self) -> str:
        return self._to_people

    def __repr__(self) -> str:
        return self._to_programmers


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def test_the_log_processor_reaches_everything_nested() -> None:
    redactor = Redactor([f"http://127.0.0.1{PATH}"])
    circular: list[Any] = []
    circular.append(circular)
    event = {
        "event": f"calling {PATH}",
        PATH: 1,
        "nested": {"list": [PATH, {"deep": (PATH, {PATH})}], "number": 4.5, "none": None, "flag": True},
        "bytes": PATH.encode(),
        "error": ValueError(PATH),
        "object": Talkative(),
        "broken": Broken(),
        "circular": circular,
        "Password": "short",
        "harmless": 1 + 2j,
    }
    clean = redactor.processor(None, "info", event)
    assert not leaks(repr(clean))
    assert clean["Password"] == MASK
    assert clean["broken"] == "<Broken>"
    assert clean["harmless"] == 1 + 2j
    assert clean["nested"]["number"] == 4.5


@pytest.mark.parametrize(
    "value",
    [
        *(Talkative(), Shown(TOKEN, "<fine>"), Shown("fine", f"<{TOKEN}>"), ValueError(TOKEN), TOKEN.encode()),
        *((TOKEN,), {TOKEN}, frozenset({TOKEN}), [[TOKEN]], [{"deep": TOKEN}], {"deep": {TOKEN: 1}}),
    ],
)
def test_the_log_processor_masks_what_is_no_text(value: object) -> None:
    """Beside texts that hold no secret."""
    clean = Redactor([f"http://127.0.0.1{PATH}", TOKEN]).processor(None, "info", {"event": "x", "value": value, "number": 1})
    assert (clean["event"], clean["number"]) == ("x", 1)
    assert not leaks(str(clean["value"]) + repr(clean["value"]))
    if isinstance(value, Shown):
        assert clean["value"] == (f"<{MASK}>" if TOKEN in repr(value) else "<fine>"), "as programs print it"


def test_the_log_processor_leaves_to_the_renderer_what_holds_no_secret() -> None:
    """A number of another kind, or a path, keeps its type."""
    values = {"event": "x", "path": Path("/a"), "number": 1 + 2j}
    assert Redactor([TOKEN]).processor(None, "info", dict(values)) == values


def test_the_log_processor_masks_a_traceback_before_it_is_rendered() -> None:
    redactor = Redactor([TOKEN])
    lines: list[str] = []

    def keep(_logger: object, _method: str, event: Any) -> str:
        lines.append(str(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[redactor.processor, keep])
    try:
        int(TOKEN)
    except ValueError:
        log.exception("failed")
    assert "ValueError: invalid literal" in lines[0]
    assert MASK in lines[0]
    assert not leaks(lines[0])


def test_the_module_s_processor_uses_the_process_wide_redactor() -> None:
    event = redacting_processor(None, "info", {"event": "key AKIAIOSFODNN7EXAMPLE", "exc_info": None})
    assert event["event"] == f"key {MASK}"
    with capture_logs(processors=[redacting_processor]) as logs:
        structlog.get_logger().info("x", key="AKIAIOSFODNN7EXAMPLE")
    assert logs[0]["key"] == MASK


def test_the_redactor_does_not_show_its_secrets() -> None:
    assert repr(Redactor([TOKEN, f"{TOKEN}2"])) == "Redactor(2 secrets)"
