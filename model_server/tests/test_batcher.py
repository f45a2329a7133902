"""The queue and its batches: nothing is lost, nothing is answered twice, keys never mix, every wait is bounded."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from failover_model_server.backends.base import Backend, Loaded
from failover_model_server.errors import InferenceFailed, Overloaded, Unavailable
from failover_model_server.run import Run
from failover_model_server.serving.batcher import Batcher
from failover_model_server.serving.shape import Shape
from failover_model_server.serving.worker import Worker, WorkerLost
from failover_model_server.tasks.base import Item, Task
from failover_model_server.tasks.echo import EchoTask
from hypothesis import given
from hypothesis import strategies as st

from tests.support.service import echo, until


class Recording(Backend):
    """Remembers the batches it ran; raises where a payload is "bad"; waits for `gate` if there is one."""

    def __init__(self) -> None:
        super().__init__(echo())
        self.batches: list[list[Item]] = []
        self.before: Callable[[], None] = lambda: None

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        return Loaded("none")

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        self.batches.append(list(items))
        self.before()
        if any(item.payload == "bad" for item in items):
            raise ValueError("bad")
        return [item.payload for item in items]


class Seen:
    """An observer."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.failures = 0
        self.too_late = 0

    def batch(self, items: int, size: int, run: Run, seconds: float) -> None:
        self.sizes.append((items, size))

    def failed(self, items: int) -> None:
        self.failures += 1

    def late(self) -> None:
        self.too_late += 1


class Stand:
    """A batcher on recording backends; its workers take nothing before `go`."""

    def __init__(self, shape: Shape | None = None, most: int = 1000, workers: int = 1) -> None:
        self.backends = [Recording() for _ in range(workers)]
        self.seen = Seen()
        self.lost: list[str] = []
        self.workers = [Worker(number, lambda backend=backend: backend) for number, backend in enumerate(self.backends)]  # type: ignore[misc]
        self.batcher = Batcher(self.workers, shape or Shape((1, 2, 4), static=False), most, self.seen)

    async def __aenter__(self) -> Self:
        for worker in self.workers:
            await worker.load(Path(), EchoTask(echo()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.batcher.stop()
        for worker in self.workers:
            await worker.close(1.0)

    def go(self) -> None:
        self.batcher.start(self.lost.append)

    async def ask(self, items: Sequence[Item]) -> list[object]:
        """Put all items into the queue, in order, then let the workers begin; results or errors in order."""
        asked = [asyncio.create_task(self.batcher.submit(item)) for item in items]
        await until(lambda: self.batcher.queued == len(items))
        self.go()
        return await asyncio.gather(*asked, return_exceptions=True)


def numbered(keys: Sequence[str]) -> list[Item]:
    return [Item(key, number) for number, key in enumerate(keys)]


@given(keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=30), static=st.booleans(), workers=st.integers(1, 3))
def test_every_item_gets_its_own_output_once(keys: list[str], static: bool, workers: int) -> None:
    """Whatever the keys, buckets and workers: each caller gets its own output; no batch mixes keys or passes a bucket."""

    async def run() -> None:
        async with Stand(Shape((1, 3, 5), static), workers=workers) as stand:
            items = numbered(keys)
            assert await stand.ask(items) == list(range(len(items)))
            ran = [batch for backend in stand.backends for batch in backend.batches]
            assert all(len({item.key for item in batch}) == 1 for batch in ran)
            assert all(len(batch) in {1, 3, 5} if static else len(batch) <= 5 for batch in ran)
            assert sum(items for items, _ in stand.seen.sizes) == len(items)

    asyncio.run(run())


async def _orders() -> list[list[object]]:
    async with Stand(Shape((1, 2), static=False)) as stand:
        await stand.ask(numbered("abaab"))
        return [[item.payload for item in batch] for batch in stand.backends[0].batches]


def test_the_oldest_goes_first_and_takes_its_like_along() -> None:
    """The oldest item chooses the key; later ones of that key overtake others, which are next."""
    assert asyncio.run(_orders()) == [[0, 2], [1, 4], [3]]


def test_a_short_batch_is_padded_with_its_last_item() -> None:
    """With static shapes three items run as four; the caller sees three outputs."""

    async def run() -> None:
        async with Stand(Shape((1, 2, 4), static=True)) as stand:
            assert await stand.ask(numbered("aaa")) == [0, 1, 2]
            assert [item.payload for item in stand.backends[0].batches[0]] == [0, 1, 2, 2]
            assert stand.seen.sizes == [(3, 4)]

    asyncio.run(run())


def test_a_bad_item_fails_alone() -> None:
    """A batch that raises is run again one by one: only the bad item fails, and with no more than that."""

    async def run() -> None:
        async with Stand() as stand:
            good, bad, other = await stand.ask([Item("k", "x"), Item("k", "bad"), Item("k", "y")])
            assert (good, other) == ("x", "y")
            assert isinstance(bad, InferenceFailed)
            assert str(bad) == "the model failed on this input"
            assert [len(batch) for batch in stand.backends[0].batches] == [3, 1, 1, 1]

    asyncio.run(run())


def test_who_has_gone_is_not_run() -> None:
    """An item whose caller was cancelled while it waited never reaches the accelerator."""

    async def run() -> None:
        async with Stand() as stand:
            gone, stays = (asyncio.create_task(stand.batcher.submit(item)) for item in numbered("aa"))
            await until(lambda: stand.batcher.queued == 2)
            gone.cancel()
            await until(lambda: stand.batcher.queued == 1)
            stand.go()
            assert await stays == 1
            assert [[item.payload for item in batch] for batch in stand.backends[0].batches] == [[1]]

    asyncio.run(run())


def test_a_full_queue_turns_away_and_says_for_how_long() -> None:
    """Places in use count, those of requests in preparation too; a place that is given back can be taken again."""

    async def run() -> None:
        async with Stand(most=2) as stand:
            with stand.batcher.reserve(), stand.batcher.reserve():
                with pytest.raises(Overloaded) as refused:
                    stand.batcher.reserve()
                assert refused.value.retry_after is not None
                assert refused.value.retry_after >= 1
            assert stand.batcher.queued == 0
            with stand.batcher.reserve() as place:
                stand.go()
                assert await place.run(Item("k", "x")) == "x"

    asyncio.run(run())


def test_stopping_answers_what_waits() -> None:
    """What still waits at the end is answered with 503: no caller hangs."""

    async def run() -> None:
        async with Stand() as stand:
            asked = asyncio.create_task(stand.batcher.submit(Item("k", "x")))
            await until(lambda: stand.batcher.queued == 1)
            await stand.batcher.stop()
            with pytest.raises(Unavailable):
                await asked

    asyncio.run(run())


def test_a_lost_context_is_reported() -> None:
    """When the context is gone the batch is answered, and the server hears of it."""

    async def run() -> None:
        async with Stand() as stand:

            def lose() -> None:
                raise WorkerLost("exit code -9")

            stand.backends[0].before = lose
            (answer,) = await stand.ask(numbered("a"))
            assert isinstance(answer, Unavailable)
            await until(lambda: stand.lost == ["exit code -9"])

    asyncio.run(run())


class Picture:
    """An input that takes much memory."""


def test_an_input_is_free_once_it_is_answered() -> None:
    """Python collects circles of objects after thousands of further ones: dozens of batches of pictures would wait for that."""

    async def run() -> None:
        async with Stand() as stand:
            gc.collect()
            gc.disable()
            pictures = [Picture(), Picture()]
            alive = weakref.WeakSet(pictures)
            await stand.ask([Item("a", payload) for payload in pictures])
            stand.backends[0].batches.clear()
            pictures.clear()
            await until(lambda: not alive)

    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_an_output_too_few_is_an_error() -> None:
    """A backend that returns fewer outputs than items would answer one caller with another's result."""

    async def run() -> None:
        async with Stand() as stand:
            stand.backends[0].run = lambda items, run: ["one"] * (len(items) - 1)  # type: ignore[method-assign]
            assert all(isinstance(answer, InferenceFailed) for answer in await stand.ask(numbered("aa")))

    asyncio.run(run())


def test_a_failure_of_the_queue_itself_is_answered_and_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes batches any more: the caller does not wait for its deadline, and the process gets the reason to end."""

    def breaks(_: int) -> None:
        raise RuntimeError("/secret/path")

    async def run() -> None:
        async with Stand() as stand:
            monkeypatch.setattr(stand.seen, "failed", breaks)
            (error,) = await stand.ask([Item("a", "bad")])
            assert isinstance(error, InferenceFailed)
            await until(lambda: bool(stand.lost))
            assert stand.lost == ["the background task batches-0 ended by RuntimeError; the log has the cause"]

    asyncio.run(run())
