"""The use of accelerators, from exporters over real HTTP and from CloudWatch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from controller.clients.aws import AwsClients
from controller.errors import ConfigError
from failover_setup.breaking_point import accelerator
from failover_setup.breaking_point.accelerator import CloudWatchUse, ExporterUse
from failover_testbed.aws.server import REGION, EmulatedAws
from failover_testbed.clocks import ManualClock

DCGM = """# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",Hostname="n1",pod="sd21-a"} 42
DCGM_FI_DEV_GPU_UTIL{gpu="1",Hostname="n1",pod="other"} 99
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",pod="sd21-a"} 8000
"""
NEURON = """# HELP neuroncore_utilization_ratio NeuronCore utilization ratio
# TYPE neuroncore_utilization_ratio gauge
neuroncore_utilization_ratio{neuroncore="0",instance_type="inf2.xlarge"} 0.85
neuroncore_utilization_ratio{neuroncore="1",instance_type="inf2.xlarge"} 0.25
# TYPE neuron_runtime_memory_used_bytes gauge
neuron_runtime_memory_used_bytes{memory_location="host"} 1.0e+09
"""


@contextmanager
def exporting(*answers: tuple[int, str]) -> Iterator[str]:
    """An exporter that gives these answers in order and repeats the last."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes follow each other at once."""
    monkeypatch.setattr(accelerator, "_EVERY_S", 0.02)


def used(exporter: ExporterUse, seconds: float = 0.6) -> float | None:
    exporter.start()
    threading.Event().wait(seconds)
    return exporter.stop()


def test_the_busiest_neuron_core_counts() -> None:
    """A core at its limit limits the unit, even if the other is idle."""
    with exporting((200, NEURON)) as url:
        exporter = ExporterUse(url, {})
        assert exporter.metric() == "neuroncore_utilization_ratio"
        assert used(exporter) == pytest.approx(0.85)


def test_labels_exclude_the_gpus_of_other_pods() -> None:
    """Percentages become shares."""
    with exporting((200, DCGM)) as url:
        assert used(ExporterUse(url, {"pod": "sd21-a"})) == pytest.approx(0.42)
        assert used(ExporterUse(url, {})) == pytest.approx(0.99)


def test_an_exporter_without_a_known_metric_is_refused_before_the_load() -> None:
    """So is one whose labels do not match."""
    with exporting((200, "# TYPE up gauge\nup 1\n")) as url, pytest.raises(ConfigError, match="found no neuroncore_utilization_ratio"):
        ExporterUse(url, {}).metric()
    with exporting((200, NEURON)) as url, pytest.raises(ConfigError, match="pod=x"):
        ExporterUse(url, {"pod": "x"}).metric()


@pytest.mark.parametrize(
    ("status", "text"), [pytest.param(500, NEURON, id="error"), pytest.param(200, "{not prometheus", id="no text format")]
)
def test_an_exporter_without_a_usable_answer_is_refused_before_the_load(status: int, text: str) -> None:
    """With the option's name."""
    with exporting((status, text)) as url, pytest.raises(ConfigError, match=r"^--accelerator-metrics: the exporter"):
        ExporterUse(url, {}).metric()


def test_an_exporter_that_fails_during_a_step_leaves_the_use_unknown() -> None:
    """Not zero."""
    with exporting((200, NEURON), (503, "")) as url:
        exporter = ExporterUse(url, {})
        exporter.metric()
        assert used(exporter) is None


def _environment(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS is the emulated one."""
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        pytest.param(30.0, 250.0, 0.6, id="three whole minutes"),
        pytest.param(30.0, 110.0, None, id="no whole minute"),
    ],
)
def test_cloudwatch_is_queried_for_the_whole_minutes_of_the_step(
    begins: float, ends: float, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percentages, averaged; minutes that lie only partly in the step do not count."""
    start = 1_790_000_040.0 // 60 * 60
    with EmulatedAws() as aws:
        _environment(aws, monkeypatch)
        clients = AwsClients(REGION)
        dimensions = [{"Name": "ClusterName", "Value": "c"}, {"Name": "PodName", "Value": "p"}]
        for minute, value in enumerate((99.0, 50.0, 60.0, 70.0, 99.0)):
            datum = {"MetricName": "pod_gpu_utilization", "Dimensions": dimensions, "Timestamp": start + 60 * minute + 1, "Value": value}
            clients.client("cloudwatch").put_metric_data(Namespace="ContainerInsights", MetricData=[datum])
        clock = ManualClock(start)
        use = CloudWatchUse(clients, clock, "ContainerInsights", "pod_gpu_utilization", {"ClusterName": "c", "PodName": "p"})
        clock.advance(begins)
        use.start()
        clock.advance(ends - begins)
        assert use.stop() == (None if expected is None else pytest.approx(expected))


def test_without_values_in_cloudwatch_the_use_is_unknown_after_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits three minutes."""
    with EmulatedAws() as aws:
        _environment(aws, monkeypatch)
        clock = ManualClock(1_790_000_000.0)
        use = CloudWatchUse(AwsClients(REGION), clock, "ContainerInsights", "pod_gpu_utilization", {"ClusterName": "c"})
        use.start()
        clock.advance(200.0)
        assert use.stop() is None
        assert clock.monotonic() == pytest.approx(380.0, abs=16.0)
