"""A batch that nobody waits for ends between two steps, in the server's process and in one of its own."""

import asyncio

import pytest
from failover_model_server.backends.base import Backend, Context
from failover_model_server.backends.echo import EchoBackend
from failover_model_server.errors import DeadlineExceeded
from failover_model_server.run import GAPS, Abandoned, Run
from failover_model_server.serving.service import Service
from failover_model_server.tasks.echo import EchoRequest

from tests.support.service import echo, loaded, until


def own_process(cls: type[Backend], settings: object, task: str) -> tuple[Context, ...]:
    return (Context({"ECHO_CORE": "0"}),)


@pytest.fixture(params=["the server's process", "its own process"])
def long_batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes ten minutes in steps of 10 ms; the synthetic one is over at once."""
    monkeypatch.setenv("ECHO_BATCH_SECONDS", "600")
    monkeypatch.setenv("ECHO_STEPS", "60000")
    if request.param == "its own process":
        monkeypatch.setattr(EchoBackend, "contexts", classmethod(own_process))


def runs(service: Service) -> bool:
    run = service._workers[0].in_flight
    return run is not None and run.steps > 0


@pytest.mark.usefixtures("long_batches")
def test_a_client_that_goes_ends_its_batch() -> None:
    """The accelerator is free for the next request, minutes before the batch would have ended."""

    async def run() -> None:
        async with loaded(echo(batch_buckets="1")) as service:
            asked = asyncio.create_task(service.infer(EchoRequest(prompt="gone")))
            await until(lambda: runs(service))
            asked.cancel()
            await until(lambda: service._workers[0].in_flight is None)
            again = asyncio.create_task(service.infer(EchoRequest(prompt="again")))
            await until(lambda: runs(service))
            again.cancel()
            await until(lambda: service._workers[0].in_flight is None)

    asyncio.run(run())


@pytest.mark.usefixtures("long_batches")
def test_a_deadline_that_passes_ends_the_batch() -> None:
    """A request that came to an idle server runs until its deadline, and no longer."""

    async def run() -> None:
        async with loaded(echo(batch_buckets="1")) as service:
            with pytest.raises(DeadlineExceeded):
                await service.infer(EchoRequest(prompt="late"), 0.3)
            await until(lambda: service._workers[0].in_flight is None)

    asyncio.run(run())


@pytest.mark.usefixtures("long_batches")
def test_a_batch_goes_on_while_anybody_waits() -> None:
    """Of two in a batch one goes: the other is still run."""

    async def run() -> None:
        async with loaded(echo(batch_buckets="2", max_queue=4)) as service:
            both = [asyncio.create_task(service.infer(EchoRequest(prompt=prompt))) for prompt in ("gone", "stays")]
            await until(lambda: runs(service))
            seen = service._workers[0].in_flight
            assert seen is not None
            if len(seen.over) < 2:
                pytest.skip("the two did not meet in a batch")
            both[0].cancel()
            await until(lambda: seen.over[0])
            steps = seen.steps
            await until(lambda: seen.steps > steps + 5)
            assert service._workers[0].in_flight is seen
            both[1].cancel()
            await until(lambda: service._workers[0].in_flight is None)

    asyncio.run(run())


def test_what_only_fills_a_batch_up_is_not_waited_for() -> None:
    """A padded batch is abandoned when its real items are; the gaps it remembers are bounded."""
    run = Run(waiting=1, size=4)
    for _ in range(GAPS + 5):
        run.step()
    assert len(run.gaps) == GAPS
    run.leave(0)
    with pytest.raises(Abandoned):
        run.step()
