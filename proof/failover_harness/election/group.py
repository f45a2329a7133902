"""Replicas as processes that contend for the Lease of one namespace on the real server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from controller.clients.kube import LEASES
from controller.errors import RemoteError
from controller.service.election import Holding, holding
from controller.service.leadership import LEASE_NAME
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.election.record import Recorder, make_routing
from failover_harness.waiting import wait_for

ROOT = Path(__file__).parents[3]
LEASE = LEASES.path
LONG_S = 60.0


class Group:
    """Replicas that contend for the Lease of one namespace, and a record of their writes."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.session, self.namespace = plane.session(), namespace
        self._kubeconfig = plane.kubeconfig()
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._up: set[str] = set()
        self._number = 0
        make_routing(self.session, namespace)
        # Released, so that no test waits for an absent Lease; the test of an absent Lease deletes it.
        lease = {"metadata": {"name": LEASE_NAME}, "spec": {"holderIdentity": "", "leaseTransitions": 0}}
        self.session.request("POST", LEASE(namespace), body=json.dumps(lease))
        self.recorder = Recorder(plane.session(), namespace)

    def start(self) -> str:
        """One more replica."""
        self._number += 1
        name = f"replica-{self._number}"
        command = [sys.executable, "-m", "failover_harness.election.elector", str(self._kubeconfig), self.namespace, name]
        self._running[name] = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return name

    def send(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a replica; if the signal ends it, waits for the end."""
        self._running[name].send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self._reap(self._running.pop(name))

    @staticmethod
    def _reap(process: subprocess.Popen[str]) -> None:
        process.wait(timeout=20)
        if process.stdout is not None:
            process.stdout.close()

    def names(self) -> list[str]:
        """The names of the running replicas."""
        return list(self._running)

    def all_running(self) -> bool:
        """Whether no replica ended by itself."""
        return all(process.poll() is None for process in self._running.values())

    def report(self) -> str:
        """States of the replicas, the Lease's holder, and counts of writes, for the message of a failed test."""
        ended = {name: process.poll() for name, process in self._running.items()}
        running = [f"{name}: {'runs' if code is None else f'ended with code {code}'}" for name, code in ended.items()]
        wrote = {name: self.recorder.record.count(name) for name in sorted({*ended, *self.recorder.record.holders()} - {""})}
        return "\n".join([*running, f"the Lease is held by {self.holder() or 'nobody'} in epoch {self.epoch()}", f"writes: {wrote}"])

    def holder(self) -> str:
        """The Lease's holder on the server, "" if there is none or it cannot be read."""
        return self._holding().holder

    def epoch(self) -> int:
        """The Lease's epoch, 0 if it cannot be read."""
        return self._holding().epoch

    def _holding(self) -> Holding:
        try:
            return holding(self.session.get(LEASES, self.namespace, LEASE_NAME))
        except RemoteError:
            return holding({})

    def await_holder(self, *not_these: str, deadline_s: float = LONG_S) -> str:
        """Waits until a replica other than these holds the Lease and has written."""
        wait_for("a holder", lambda: self.holder() not in {"", *not_these}, deadline_s)
        name = self.holder()
        before = self.recorder.record.count(name)
        wait_for("its writes", lambda: self.recorder.record.count(name) > before + 1, deadline_s)
        return name

    def await_standby(self) -> None:
        """Waits until one replica leads and writes, and all others have seen the Lease."""
        self.await_holder()
        for name in self._running.keys() - self._up:
            stdout = self._running[name].stdout
            assert stdout is not None
            assert stdout.readline() == "up\n", f"{name} ended"
            self._up.add(name)

    def close(self) -> list[str]:
        """Stops all replicas and returns the violations."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            self._reap(process)
        record = self.recorder.close()
        self.session.close()
        assert record.writes, "nothing was written: nothing was tested"
        return record.violations()
