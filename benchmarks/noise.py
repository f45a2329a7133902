"""Writes the ordinary events of a busy cluster, at a bounded rate, from a separate process.

Half of them go to ``default``, whose events the controller must read because it contains events of cluster-scoped objects. The others go
to the applications' namespaces. It ends after the given time, and at once when its standard input ends.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.wire import Refused, Wire
from controller.clients.kube import EVENTS, JSON, Object
from controller.clock import format_rfc3339

_WRITERS: Final = 4
_LONGEST_S: Final = 900.0
_POD: Final = (
    ("Scheduled", "Normal", "default-scheduler", "Successfully assigned {0} to ip-10-0-1-17.us-west-2.compute.internal", 20),
    ("Pulling", "Normal", "kubelet", 'Pulling image "registry.example/server:1"', 20),
    ("Pulled", "Normal", "kubelet", 'Successfully pulled image "registry.example/server:1" in 1.204s. Image size: 104857600 bytes.', 20),
    ("Created", "Normal", "kubelet", "Created container: server", 15),
    ("Started", "Normal", "kubelet", "Started container server", 15),
    ("FailedScheduling", "Warning", "default-scheduler", "0/12 nodes are available: 12 Insufficient cpu. preemption: none.", 5),
)
_CLUSTER: Final = (
    ("Node", "NodeHasSufficientMemory", "Normal", "kubelet", "Node {0} status is now: NodeHasSufficientMemory", 4),
    ("NodeClaim", "Unconsolidatable", "Normal", "karpenter", "SpotToSpotConsolidation is disabled, can't replace a spot node", 3),
    ("NodeClaim", "DisruptionBlocked", "Normal", "karpenter", "Node is nominated for a pending pod", 3),
)


def event(number: int, namespace: str, rng: random.Random) -> Object:
    """An event that affects no decision."""
    name = f"web-{rng.randrange(200)}-{number:x}"
    rows = [("Pod", *row) for row in _POD] + ([*_CLUSTER] if namespace == "default" else [])
    kind, reason, severity, component, message, _ = rng.choices(rows, [row[-1] for row in rows])[0]
    involved = {"kind": kind, "apiVersion": "v1" if kind != "NodeClaim" else "karpenter.sh/v1", "name": name, "uid": f"uid-{number}"}
    now = format_rfc3339(time.time())
    return {
        "metadata": {"name": f"{name}.{number:x}", "namespace": namespace},
        "involvedObject": involved | ({"namespace": namespace} if kind == "Pod" else {}),
        "reason": reason,
        "type": severity,
        "message": message.format(name),
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


class Noise:
    """Writes events at a steady rate.

    Args:
        kubeconfig: The administrator's kubeconfig.
        namespaces: The applications' namespaces.
        per_minute: Events per minute over all namespaces.
        seconds: Duration, seconds.
    """

    def __init__(self, kubeconfig: Path, namespaces: Sequence[str], *, per_minute: float, seconds: float) -> None:
        self._kubeconfig, self._namespaces = kubeconfig, list(namespaces)
        self._per_s, self._seconds = per_minute / 60.0, min(seconds, _LONGEST_S)
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self.sent = self.failed = 0
        self._first = time.time_ns() // 1000  # names must differ from those of earlier generators

    def run(self) -> float:
        """Runs to the end.

        Returns:
            Its duration, seconds.
        """
        start = time.monotonic()
        writers = [threading.Thread(target=self._write, args=(start, index), daemon=True) for index in range(_WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        return time.monotonic() - start

    def _write(self, start: float, index: int) -> None:
        rng = random.Random(index)
        with Wire(self._kubeconfig) as wire:
            for number in range(index, int(self._per_s * self._seconds), _WRITERS):
                if self.stop.wait(max(0.0, start + number / self._per_s - time.monotonic())):
                    return
                namespace = "default" if number // _WRITERS % 2 else rng.choice(self._namespaces)
                body = json.dumps(event(self._first + number, namespace, rng))
                try:
                    wire.send("POST", EVENTS.path(namespace), body, JSON)
                except (Refused, OSError, http.client.HTTPException):
                    failed, sent = 1, 0
                else:
                    failed, sent = 0, 1
                with self._lock:
                    self.failed, self.sent = self.failed + failed, self.sent + sent


def main() -> None:
    """Runs it and prints what it sent as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespaces", required=True, help="comma-separated")
    parser.add_argument("--per-minute", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    noise = Noise(options.kubeconfig, options.namespaces.split(","), per_minute=options.per_minute, seconds=options.seconds)

    def end_with_parent() -> None:
        sys.stdin.read()
        noise.stop.set()

    threading.Thread(target=end_with_parent, daemon=True).start()
    seconds = noise.run()
    print(json.dumps({"sent": noise.sent, "failed": noise.failed, "seconds": round(seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()
