"""Replicas that contend for one Lease in simulated time: the production `Election` on faulty clocks, networks and processes.

A server keeps the Lease, one state record (compare-and-swap, with the epoch) and one object like the Ingress, without an epoch. Replicas
renew and poll. While they believe that they lead, they write state and act like the service: they confirm first, and every request has a
deadline. The world knows the true holder at all times and judges each write when the server accepts it.

The simulation includes the latency of requests and answers, lost answers, partitions, a server that refuses only one replica's renewals,
paused, killed and ended processes, Leases that others delete or take, and a clock of its own rate for each replica. The server does not
carry out a request whose client has given up, because it knows the deadline and the connection is closed. If the world is `late`, it does,
whenever the request arrives.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from controller.service.election import EFFECT_S, Answer, Election, Failed, Found, Missing, Refused, Request, Timing, Verb, holding
from controller.service.leadership import REQUEST_S

_METADATA: Final = {"name": "failoverctl", "namespace": "failover-system"}
_ACT_EVERY_S: Final = 8.0
_STANDS_BY_S: Final = 5.0  # true seconds within which a started replica sees the Lease, even with the slowest clock
_FOREIGN: Final = "somebody-else"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Faults and their frequency. Times are true seconds; each `…_every_s` is the mean of an exponential distribution, 0 means never.

    Attributes:
        latency_s: Typical one-way delay.
        slow_every_s: How often the server becomes slow, for `slow_for_s`, with delays up to `slow_s` each way.
        partition_every_s: How often a replica is cut off, for up to `partition_for_s`.
        deny_every_s: How often the server refuses one replica's requests for the Lease, for up to `partition_for_s`; other requests pass.
        pause_every_s: How often one replica stops (SIGSTOP), for up to `pause_for_s`.
        kill_every_s: How often the leader is killed while another stands by; it restarts with a new identity after `restart_s`.
        end_every_s: How often the leader gets SIGTERM while another stands by.
        delete_every_s: How often the Lease is deleted.
        steal_every_s: How often another client takes the Lease and lets it expire.
        lost: Share of answers that are lost after the request was carried out.
        rates: Rates of the slowest and fastest clock; the true rate is 1.
        gap: Share of writes before which the process pauses between confirming and sending, for up to `pause_for_s`.
        late: Whether the server carries out a request that its client has given up.
    """

    latency_s: float = 0.005
    slow_every_s: float = 0.0
    slow_for_s: float = 120.0
    slow_s: float = 30.0
    partition_every_s: float = 0.0
    partition_for_s: float = 90.0
    deny_every_s: float = 0.0
    pause_every_s: float = 0.0
    pause_for_s: float = 60.0
    kill_every_s: float = 0.0
    end_every_s: float = 0.0
    restart_s: float = 20.0
    delete_every_s: float = 0.0
    steal_every_s: float = 0.0
    lost: float = 0.0
    rates: tuple[float, float] = (1.0, 1.0)
    gap: float = 0.0
    late: bool = False


ROUGH: Final = Trouble(
    slow_every_s=400,
    partition_every_s=300,
    deny_every_s=300,
    pause_every_s=300,
    kill_every_s=400,
    end_every_s=400,
    delete_every_s=600,
    steal_every_s=600,
    lost=0.02,
    rates=(0.5, 2.0),
)
"""All faults that a lease tolerates, at the same time."""


@dataclass(slots=True)
class Figures:
    """The results of a run.

    Attributes:
        seconds: True time that passed.
        epochs: Changes of the leader.
        state_writes: Accepted writes of the state record.
        actions: Accepted actions on the object without epochs.
        refused: Writes that the server refused by version.
        unconfirmed: Actions that a replica skipped because it could not confirm its leadership.
        stale_state: State writes of an earlier epoch accepted after one of a later epoch; must be 0.
        foreign_actions: Actions accepted while another replica held the Lease.
        robbed_actions: Actions accepted while another client held the Lease that took it without waiting, which no candidate can prevent.
        after_kill_s: Seconds from each kill of the leader to the next leader.
        after_end_s: Seconds from each SIGTERM of the leader to the next leader.
    """

    seconds: float = 0.0
    epochs: int = 0
    state_writes: int = 0
    actions: int = 0
    refused: int = 0
    unconfirmed: int = 0
    stale_state: int = 0
    foreign_actions: int = 0
    robbed_actions: int = 0
    after_kill_s: list[float] = field(default_factory=list)
    after_end_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Server:
    """The API server's objects; each write increases the version."""

    version: int = 0
    lease: dict[str, Any] | None = None
    state: tuple[int, int] = (0, 0)  # version, epoch
    ingress: int = 0

    def carry_out(self, request: Request) -> Answer:
        """Carries out one request for the Lease."""
        if request.verb is Verb.GET:
            return Missing() if self.lease is None else Found(self.lease)
        assert request.body is not None
        if request.verb is Verb.CREATE:
            return Refused() if self.lease is not None else self._store(request.body)
        if self.lease is None:
            return Missing()
        same = request.body["metadata"]["resourceVersion"] == self.lease["metadata"]["resourceVersion"]
        return self._store(request.body) if same else Refused()

    def _store(self, body: dict[str, Any]) -> Found:
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return Found(self.lease)

    def holder(self) -> str:
        """The true holder of the Lease."""
        return "" if self.lease is None else holding(self.lease).holder


class _Replica:
    """One process: an election, a clock, and work to do while it leads."""

    def __init__(self, world: World, name: str) -> None:
        self.world, chance = world, world.chance
        self.identity = f"{name}-{next(world.numbers)}"
        low, high = world.trouble.rates
        self.rate: float = low * (high / low) ** chance.random()
        self.offset = chance.uniform(0, 1000)
        stamp = lambda: f"{world.now:.6f}"  # noqa: E731
        self.election = Election(self.identity, _METADATA, world.timing, random.Random(chance.random()), stamp)
        self.alive, self.ending, self.since = True, False, world.now
        self.paused_until = self.cut_until = self.denied_until = 0.0
        self.busy = False
        self.act_at = self.clock() + chance.uniform(0, _ACT_EVERY_S)
        self.read: tuple[int, int] | None = None  # the state record as this replica read it, in `read_in`
        self.read_in = 0
        world.after(0.0, self, self.turn)

    def clock(self) -> float:
        """Its own monotonic time."""
        return self.offset + self.world.now * self.rate

    def turn(self) -> None:
        """One round of its loops; work on the Lease comes first."""
        if self.busy or self.ending:
            return
        now = self.clock()
        due = self.election.next(now)
        if isinstance(due, Request):
            self.ask(due)
            return
        wait = due
        if self.election.leads(now):
            if now >= self.act_at:
                self.act()
                return
            wait = min(due, self.act_at - now)
        self.world.after(max(wait, 1e-4) / self.rate, self, self.turn)

    def ask(self, request: Request, then: Callable[[], None] | None = None) -> None:
        """Sends a request for the Lease; the answer, or its deadline, comes later."""
        self.busy = True
        sent = self.clock()

        def answered(answer: Answer) -> None:
            self.busy = False
            self.election.answered(request, sent, self.clock(), answer)
            (then or self.turn)()

        def carry_out() -> Answer:
            return Failed() if self.denied_until > self.world.now else self.world.server.carry_out(request)

        self.world.call(self, REQUEST_S, carry_out, answered)

    def act(self) -> None:
        """Makes one effect and one state write, like a pass of the service."""
        epoch = self.election.epoch
        if self.read is None or self.read_in != epoch:
            self._load(epoch)
            return
        self.act_at = self.clock() + self.world.chance.expovariate(1 / _ACT_EVERY_S)
        self._confirmed(epoch, lambda: self._change(epoch))

    def _load(self, epoch: int) -> None:
        self.busy = True

        def loaded(answer: tuple[int, int] | Failed) -> None:
            self.busy = False
            if not isinstance(answer, Failed):
                self.read, self.read_in = answer, epoch
                if answer[1] > epoch:
                    self.election.outrank(answer[1])
                    self.read = None
            self.act_at = self.clock() + (0 if self.read else 1)
            self.turn()

        self.world.call(self, 5.0, lambda: self.world.server.state, loaded)

    def _confirmed(self, epoch: int, then: Callable[[], None]) -> None:
        """Like `LeaseLeadership.confirm`: renews at most once, and then acts only if leadership is certain."""

        def certain() -> bool:
            return self.election.epoch == epoch and self.election.trusted_s(self.clock()) > EFFECT_S

        def decide() -> None:
            if certain():
                self._after_gap(then)
            else:
                self.world.figures.unconfirmed += 1
                self.turn()

        if certain():
            self._after_gap(then)
            return
        renewal = self.election.renewal() if self.election.leads(self.clock()) else None
        if renewal is None:
            decide()
        else:
            self.ask(renewal, decide)

    def _after_gap(self, then: Callable[[], None]) -> None:
        """Sends at once, or after a pause of the process (`Trouble.gap`)."""
        trouble, chance = self.world.trouble, self.world.chance
        if trouble.gap and chance.random() < trouble.gap:
            self.busy = True
            self.world.after(trouble.pause_for_s * chance.random(), self, then)
        else:
            then()

    def _change(self, epoch: int) -> None:
        self.busy = True
        seen = self.world.server.ingress  # the plan uses what the watch delivered last
        self.world.call(
            self,
            EFFECT_S,
            lambda: self.world.accept_action(self, seen),
            lambda _: self._done_acting(epoch),
        )

    def _done_acting(self, epoch: int) -> None:
        self.busy = False
        self._confirmed(epoch, lambda: self._save(epoch))

    def _save(self, epoch: int) -> None:
        read = self.read
        if read is None or read[1] > epoch:
            self.busy = False
            self.turn()
            return
        self.busy = True

        def saved(answer: tuple[int, int] | Refused | Failed) -> None:
            self.busy = False
            self.read = answer if isinstance(answer, tuple) else None
            self.turn()

        self.world.call(self, EFFECT_S, lambda: self.world.accept_state(read, epoch), saved)

    def end(self) -> None:
        """Handles SIGTERM: finishes the present work, then releases the Lease."""
        if self.busy:
            self.world.after(0.01, self, self.end)
            return
        self.ending = True
        request = self.election.release()
        if request is None:
            self.alive = False
        else:
            self.ask(request, lambda: setattr(self, "alive", False))


class World:
    """The server, the replicas and the faults.

    Args:
        seed: Seed of all randomness.
        trouble: The faults.
        replicas: Number of replicas.
        timing: Timing of the elections.
    """

    def __init__(self, seed: int, trouble: Trouble, *, replicas: int = 2, timing: Timing | None = None) -> None:
        self.chance, self.trouble, self.timing = random.Random(seed), trouble, timing or Timing()
        self.now = 0.0
        self.numbers = itertools.count()
        self.server, self.figures = _Server(), Figures()
        self._queue: list[tuple[float, int, _Replica | None, Callable[[], None]]] = []
        self._order = itertools.count()
        self._slow_until = 0.0
        self._last_holder = ""
        self._gap: tuple[float, list[float]] | None = None  # start of the time without a leader, list for it
        self.replicas = [_Replica(self, f"replica-{index}") for index in range(replicas)]
        for every, what in (
            (trouble.slow_every_s, self._slow_down),
            (trouble.partition_every_s, self._cut_off),
            (trouble.deny_every_s, self._deny),
            (trouble.pause_every_s, self._pause),
            (trouble.kill_every_s, self._kill),
            (trouble.end_every_s, self._end),
            (trouble.delete_every_s, self._delete),
            (trouble.steal_every_s, self._steal),
        ):
            if every:
                self._again(every, what)

    def run(self, seconds: float) -> Figures:
        """Lets true time pass."""
        while self._queue and self._queue[0][0] <= seconds:
            self.now, _, replica, what = heapq.heappop(self._queue)
            if replica is not None and not replica.alive:
                continue
            if replica is not None and replica.paused_until > self.now:
                self.after(replica.paused_until - self.now, replica, what)
                continue
            what()
            self._watch_holder()
        self.figures.seconds = seconds
        return self.figures

    # --- time and network ---------------------------------------------------------------------------------------------------------------

    def after(self, seconds: float, replica: _Replica | None, what: Callable[[], None]) -> None:
        """Runs something later: in a replica's process, which may be dead or paused by then, or in none."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), replica, what))

    def call(self, replica: _Replica, deadline_s: float, carry_out: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        """Sends a replica's request and delivers the answer, or `Failed` at the deadline on the replica's clock."""
        deadline = self.now + deadline_s / replica.rate
        there, back = self.now + self._delay(), self._delay()
        done = False

        def finish(answer: Any) -> None:
            nonlocal done
            if not done:
                done = True
                answered(answer)

        def arrive() -> None:
            if replica.cut_until > self.now or (self.now > deadline and not self.trouble.late):
                return
            answer = carry_out()
            if self.chance.random() >= self.trouble.lost and self.now + back <= deadline:
                self.after(back, replica, lambda: finish(answer))

        if replica.cut_until <= self.now:
            self.after(there - self.now, None, arrive)
        self.after(deadline - self.now, replica, lambda: finish(Failed()))

    def _delay(self) -> float:
        if self.now < self._slow_until:
            return self.chance.uniform(0, self.trouble.slow_s)
        return self.trouble.latency_s * (0.5 + self.chance.random())

    # --- judgement ----------------------------------------------------------------------------------------------------------------------

    def accept_action(self, replica: _Replica, seen: int) -> None:
        """Judges an action on an object with a version but no epoch."""
        if self.server.ingress != seen:
            self.figures.refused += 1
            return
        self.server.ingress += 1
        self.figures.actions += 1
        holder = self.server.holder()
        if holder == _FOREIGN:
            self.figures.robbed_actions += 1
        elif holder not in {"", replica.identity}:
            self.figures.foreign_actions += 1

    def accept_state(self, over: tuple[int, int], epoch: int) -> tuple[int, int] | Refused:
        """Judges a write of the state record under the version that was read."""
        if self.server.state[0] != over[0]:
            self.figures.refused += 1
            return Refused()
        self.figures.stale_state += epoch < self.server.state[1]
        self.figures.state_writes += 1
        self.server.state = (over[0] + 1, epoch)
        return self.server.state

    def _watch_holder(self) -> None:
        holder = self.server.holder()
        if holder == self._last_holder:
            return
        self._last_holder = holder
        if holder and holder != _FOREIGN:
            self.figures.epochs += 1
            if self._gap is not None:
                since, note = self._gap
                note.append(self.now - since)
                self._gap = None

    # --- trouble ------------------------------------------------------------------------------------------------------------------------

    def _again(self, every: float, what: Callable[[], None]) -> None:
        def happen() -> None:
            what()
            self._again(every, what)

        self.after(self.chance.expovariate(1 / every), None, happen)

    def _slow_down(self) -> None:
        self._slow_until = self.now + self.trouble.slow_for_s * self.chance.random()

    def _cut_off(self) -> None:
        replica = self.chance.choice(self.replicas)
        replica.cut_until = self.now + self.trouble.partition_for_s * self.chance.random()

    def _deny(self) -> None:
        replica = self.chance.choice(self.replicas)
        replica.denied_until = self.now + self.trouble.partition_for_s * self.chance.random()

    def _pause(self) -> None:
        replica = self.chance.choice(self.replicas)
        replica.paused_until = self.now + self.trouble.pause_for_s * self.chance.random()

    def _leader(self) -> _Replica | None:
        """The leader, if another replica is standing by."""
        up = [one for one in self.replicas if one.alive and not one.ending]
        standing_by = [one for one in up if one.identity != self.server.holder() and self.now - one.since > _STANDS_BY_S]
        return next((one for one in up if one.identity == self.server.holder()), None) if standing_by else None

    def _replace(self, replica: _Replica) -> None:
        index = self.replicas.index(replica)

        def restart() -> None:
            replica.alive = False
            self.replicas[index] = _Replica(self, f"replica-{index}")

        self.after(self.trouble.restart_s, None, restart)

    def _kill(self) -> None:
        if (leader := self._leader()) is not None:
            leader.alive = False
            self._gap = (self.now, self.figures.after_kill_s)
            self._replace(leader)

    def _end(self) -> None:
        if (leader := self._leader()) is not None:
            self._gap = (self.now, self.figures.after_end_s)
            leader.end()
            self._replace(leader)

    def _delete(self) -> None:
        self.server.lease = None

    def _steal(self) -> None:
        if self.server.lease is not None:
            held = holding(self.server.lease)
            spec = {**self.server.lease["spec"], "holderIdentity": _FOREIGN, "leaseTransitions": held.epoch + 1, "renewTime": f"{self.now}"}
            self.server.carry_out(Request(Verb.UPDATE, {**self.server.lease, "spec": spec}))
