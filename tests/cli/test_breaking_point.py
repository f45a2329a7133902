"""`failoverctl breaking-point`: what it refuses before it loads anything."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from failover_setup.breaking_point.vegeta import Vegeta

SEED = Path("config/sd21.yaml")
UNIT = "sd21-inf2"


@pytest.fixture(autouse=True)
def _no_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test of this file may send a request, and no cluster is configured."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr(Vegeta, "_attack", forbidden)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sd21.yaml"
    path.write_text(SEED.read_text())
    return path


def run(file: Path, *arguments: str, unit: str = UNIT, url: str = "http://127.0.0.1:9/", tool: str = "/bin/true") -> Result:
    return CliRunner().invoke(main, ["breaking-point", str(file), unit, "--url", url, "--no-plot", "--load-tool", tool, *arguments])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param({"unit": "sd21-x"}, "no unit 'sd21-x'; there are: sd21-inf2, sd21-trn1", id="unit"),
        pytest.param({"url": "sd21.example.com"}, "--url: found something else; allowed: an http:// or https:// URL", id="url"),
        pytest.param({"tool": "/no/vegeta"}, "install it with: go install", id="tool"),
        pytest.param({"url": "http://sd21-inf2.default.svc/"}, "refused: users are behind that URL", id="production"),
        pytest.param({"url": "http://192.0.2.7/"}, "refused: cannot tell whether users are behind that URL", id="cannot tell"),
        pytest.param({}, "there is no terminal to ask for confirmation; use --yes", id="no terminal"),
    ],
)
def test_what_must_not_be_loaded_is_refused(arguments: dict[str, Any], text: str, file: Path) -> None:
    """With the reason, and exit code 1."""
    result = run(file, **arguments)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(["--latency-limit", "1.5"], "--latency-limit: found 1.5, above the unit's latencyLimitSeconds (0.9)", id="limit"),
        pytest.param(["--accelerator-match", "pod"], "--accelerator-match: found something else", id="match"),
        pytest.param(
            ["--accelerator-metrics", "http://127.0.0.1:9/"], "--accelerator-metrics: the exporter does not answer", id="exporter"
        ),
        pytest.param(["--accelerator-cloudwatch", "pod_gpu_utilization"], "allowed: NAMESPACE/METRIC", id="cloudwatch"),
        pytest.param(["--accelerator-metrics", "http://h/", "--accelerator-cloudwatch", "a/b"], "found both", id="both"),
        pytest.param(["--step", "soon"], "found 'soon'; allowed: a duration", id="step"),
        pytest.param(["--header", "secret"], "--header: found something else", id="header"),
        pytest.param(["--application", "default/other"], "no unit 'sd21-inf2'; there are: none", id="application"),
    ],
)
def test_wrong_options_are_named(options: list[str], text: str, file: Path) -> None:
    """Before anything is loaded."""
    result = run(file, *options)
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


def test_a_file_that_cannot_be_written_is_refused_before_the_load(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a mounted ConfigMap; --no-write measures all the same."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))  # root may write everywhere
    assert "cannot be written; copy the file, or use --no-write" in run(file).output
    assert "no terminal to ask for confirmation" in run(file, "--no-write").output


@pytest.mark.parametrize(("plot", "text"), [("x.gif", "allowed: a file that ends with .svg"), ("/no/folder/x.svg", "is not a folder")])
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_load(plot: str, text: str, file: Path) -> None:
    """By its option."""
    arguments = ["breaking-point", str(file), UNIT, "--url", "http://127.0.0.1:9/", "--load-tool", "/bin/true", "--plot", plot]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert text in result.output
    assert "--plot: " in result.output


@pytest.mark.parametrize(("missing", "option"), [("ruamel.yaml", "--no-write"), ("matplotlib", "--no-plot")])
def test_a_missing_extra_is_named_with_its_install_command(
    missing: str, option: str, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is loaded, with the way around it."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == missing:
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    arguments = ["breaking-point", str(file), UNIT, "--url", "http://127.0.0.1:9/", "--load-tool", "/bin/true"]
    result = CliRunner().invoke(main, [*arguments, "--plot", str(tmp_path / "plot.svg")])
    assert result.exit_code == 1
    assert f"{missing} is not installed; install it with: pip install 'mixed-accelerator-failover[breaking-point]'" in result.output
    assert option in result.output


def test_a_unit_of_several_applications_must_be_named(tmp_path: Path) -> None:
    """By the application's key."""
    other = SEED.read_text().replace("name: sd21\n", "name: other\n").replace("ingress: sd21\n", "ingress: other\n")
    path = tmp_path / "two.yaml"
    path.write_text(f"{SEED.read_text()}---\n{other.replace('-hpa', '-other-hpa')}")
    assert "name one with --application: default/sd21, default/other" in " ".join(run(path).output.split())
    assert "no terminal to ask for confirmation" in run(path, "--application", "default/other").output
