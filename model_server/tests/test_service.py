"""From the name of a model to READY: warming, several contexts, failures on the way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from failover_model_server import registry
from failover_model_server.backends.base import Backend, Context, Loaded
from failover_model_server.backends.echo import EchoBackend
from failover_model_server.errors import LoadError, Unavailable
from failover_model_server.lifecycle import State
from failover_model_server.run import Run
from failover_model_server.serving.service import Service
from failover_model_server.tasks.base import Item, Task
from failover_model_server.tasks.echo import EchoRequest, EchoTask
from failover_model_server.telemetry.sink import Sink

from tests.support.service import Recorder, echo, loaded, until


class Compiled(Backend):
    """Compiled for batches of 1 and 3; remembers what it ran."""

    ran: ClassVar[list[int]] = []
    calls: ClassVar[list[str]] = []

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        return Loaded("fake", batch_buckets=(1, 3), static_shapes=True)

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        self.ran.append(len(items))
        return [item.payload for item in items]

    def warmed(self) -> None:
        self.calls.append("warmed")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> type[Compiled]:
    monkeypatch.setattr(Compiled, "ran", [])
    monkeypatch.setattr(Compiled, "calls", [])
    monkeypatch.setattr(registry, "backend", lambda _: Compiled)
    return Compiled


def test_every_bucket_is_warmed_and_not_counted(compiled: type[Compiled]) -> None:
    """The buckets are those the model is compiled for; synthetic requests do not reach the autoscaler's counter."""

    async def run() -> None:
        counted = Recorder()
        async with loaded(echo(batch_buckets="1,2,4"), counted):
            assert compiled.ran == [1, 3]
            assert compiled.calls == ["warmed"]
            assert counted.latencies == []

    asyncio.run(run())
    assert compiled.calls == ["warmed", "close"]


def fails(service: Service) -> str:
    """The reason with which loading fails."""

    async def run() -> None:
        with pytest.raises(LoadError):
            await service.load()
        assert service.lifecycle.state is State.FAILED
        await service.stop(1.0)

    asyncio.run(run())
    return service.lifecycle.status.reason


def test_a_model_that_answers_nonsense_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the task says of a synthetic response decides."""
    monkeypatch.setattr(EchoBackend, "run", lambda self, items, run: ["nonsense"] * len(items))
    assert fails(Service(echo(), Sink())) == "the echo backend does not echo"


def test_a_batch_that_raises_while_warming_fails_without_internals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's reason names the kind of error; its text, which may hold paths, is in the log alone."""

    def run(self: object, items: object, run: object) -> object:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(EchoBackend, "run", run)
    reason = fails(Service(echo(), Sink()))
    assert "RuntimeError" in reason
    assert "/secret" not in reason


def test_a_task_without_synthetic_requests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing would prove that the model works."""
    monkeypatch.setattr(EchoTask, "warm_requests", lambda self: ())
    assert "synthetic" in fails(Service(echo(), Sink()))


def test_a_missing_model_is_a_reason() -> None:
    """A path that is not there."""
    assert "/nowhere" in fails(Service(echo(model="/nowhere"), Sink()))


def two(cls: type[Backend], settings: object, task: str) -> tuple[Context, ...]:
    return (Context({"ECHO_CORE": "0"}), Context({"ECHO_CORE": "1"}))


def test_two_contexts_are_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each context has its own process with its own variables; both take batches from one queue."""
    monkeypatch.setenv("ECHO_BATCH_SECONDS", "0.05")
    monkeypatch.setattr(EchoBackend, "contexts", classmethod(two))

    async def run() -> None:
        async with loaded(echo(batch_buckets="1")) as service:
            prompts = [f"which {number}" for number in range(8)]
            answers = await asyncio.gather(*(service.infer(EchoRequest(prompt=prompt)) for prompt in prompts))
            assert {answer.model_dump()["response"] for answer in answers} == {"0", "1"}

    asyncio.run(run())


def test_a_process_that_dies_fails_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the chip gone is not served on quietly: the state is FAILED with the exit code, and the container restarts."""
    monkeypatch.setattr(EchoBackend, "contexts", classmethod(two))

    async def run() -> None:
        async with loaded(echo(batch_buckets="1")) as service:
            with pytest.raises(Exception, match="the accelerator is gone"):
                await service.infer(EchoRequest(prompt="please die"))
            await until(lambda: service.lifecycle.state is State.FAILED)
            assert "exit code 9" in service.lifecycle.status.reason

    asyncio.run(run())


def test_what_waits_for_a_process_that_dies_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other worker takes it: it would wait for its deadline, and the exit of the failed server for it."""
    monkeypatch.setattr(EchoBackend, "contexts", classmethod(lambda *arguments: two(*arguments)[:1]))

    async def run() -> None:
        async with loaded(echo(batch_buckets="1", request_timeout=10)) as service:
            asked = [service.infer(EchoRequest(prompt=prompt)) for prompt in ("please die", "next", "last")]
            for error in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(error, Unavailable)

    asyncio.run(run())


def test_what_a_child_raises_is_a_failed_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception crosses the process boundary as text for the log; the client sees the usual answer."""
    monkeypatch.setattr(EchoBackend, "contexts", classmethod(two))

    async def run() -> None:
        async with loaded(echo(batch_buckets="1")) as service:
            with pytest.raises(Exception, match="the model failed on this input"):
                await service.infer(EchoRequest(prompt="please fail"))
            assert service.lifecycle.state is State.READY

    asyncio.run(run())


def test_a_child_that_cannot_load_tells_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A LoadError crosses the process boundary as what it is."""
    monkeypatch.setenv("ECHO_LOAD_ERROR", "artifact: compiled for trn2, this is inf2")
    monkeypatch.setattr(EchoBackend, "contexts", classmethod(two))
    assert fails(Service(echo(), Sink())) == "artifact: compiled for trn2, this is inf2"
