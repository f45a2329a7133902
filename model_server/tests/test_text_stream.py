"""Tokens as text: the pieces are the whole, characters stay whole, stop sequences never show."""

from collections.abc import Sequence

import pytest
from failover_model_server.tasks.text_stream import TextStream
from hypothesis import given
from hypothesis import strategies as st


def decode(tokens: Sequence[int]) -> str:
    """Tokens are bytes of UTF-8, as the worst tokenizers have it."""
    return bytes(tokens).decode(errors="replace")


def pieces(text: str, *stops: str) -> tuple[list[str], bool]:
    stream = TextStream(decode, stops)
    found = [stream.add(byte) for byte in text.encode()]
    return [*found, stream.rest()], stream.stopped


TEXT = st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"]))


@given(text=TEXT, stops=st.lists(st.text("ab", min_size=1), max_size=3))
def test_the_pieces_are_the_text_up_to_the_first_stop(text: str, stops: list[str]) -> None:
    """Whatever the bytes of a character and wherever a stop sequence begins."""
    found, stopped = pieces(text, *stops)
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    assert stopped == bool(places)
    if len({len(stop) for stop in stops}) <= 1:  # of stops that overlap the one that is complete first counts
        assert "".join(found) == (text[: min(places)] if places else text)


@pytest.mark.parametrize("text", ["naïve 東京 🙂", "plain"])
def test_no_piece_has_half_a_character(text: str) -> None:
    """A character shows once its last byte is there."""
    assert all("\ufffd" not in piece for piece in pieces(text)[0])


def test_what_may_begin_a_stop_is_held_back() -> None:
    """What may become "END" waits; when it does not become it, it is text."""
    stream = TextStream(decode, ["END"])
    assert [stream.add(byte) for byte in b"a ENjoy"] == ["a", " ", "", "", "ENj", "o", "y"]
