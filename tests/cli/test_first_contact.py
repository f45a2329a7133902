"""The errors that people meet first: each names the variable or the command that fixes it, and none is a library's."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller import __version__
from controller.cli.main import main
from controller.cli.observe import ApplicationObserver
from controller.clock import SystemClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.support.cluster import write_application

COMMANDS = ("plan", "status", "explain", "history", "doctor")


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A cluster in which somebody may do nothing."""
    with EmulatedKubeApi(SystemClock(), tokens={"nobody": Identity("nobody", ())}) as made:
        yield made


def _kubeconfig(folder: Path, user: dict[str, object], server: str = "https://127.0.0.1:1") -> str:
    """A kubeconfig; JSON is YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "prod",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return str(path)


def _plugin(command: str, *words: str) -> dict[str, object]:
    version = "client.authentication.k8s.io/v1beta1"
    return {"exec": {"apiVersion": version, "command": command, "args": list(words), "interactiveMode": "Never"}}


def _refused(command: str, *words: str) -> str:
    """The error of a command, on one line."""
    result = CliRunner().invoke(main, [command, *words], catch_exceptions=False)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert "ERROR:root" not in result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_an_api_server_that_does_not_answer(command: str, tmp_path: Path) -> None:
    """Its address, what happened in words, and where another one would be named."""
    said = _refused(command, "--kubeconfig", _kubeconfig(tmp_path, {"token": "x"}), "--applications", str(write_application(tmp_path)))
    assert "https://127.0.0.1:1: the connection is refused" in said
    assert "fix: is it the right cluster (--context, --kubeconfig, KUBECONFIG)" in said
    assert "NewConnectionError" not in said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_application_file(command: str, tmp_path: Path) -> None:
    """The option, the variable, and the command that writes one."""
    said = _refused(command, "--applications", str(tmp_path / "absent"))
    assert "fix: name the application files with --applications or FAILOVERCTL_APPLICATIONS; `failoverctl init" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_settings_file(command: str, tmp_path: Path) -> None:
    """Its own option and variable, not those of application files."""
    said = _refused(command, "--settings", str(tmp_path / "absent.yaml"), "--applications", str(write_application(tmp_path)))
    assert "found no settings file" in said
    assert "fix: name the settings file with --settings or FAILOVERCTL_SETTINGS" in said
    assert "FAILOVERCTL_APPLICATIONS" not in said


def test_output_that_finds_no_room(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk is no fault of the program: one line, and what is left in the buffer is not tried again."""
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as replaced:
        replaced.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main(["render", "config/sd21.yaml"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "Error: standard output: cannot be written: No space left on device"


def test_an_encoding_without_icons_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as Windows' of a pipe, or that of an old terminal: what it lacks is a question mark."""
    written = io.BytesIO()
    with monkeypatch.context() as replaced:
        replaced.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
        with pytest.raises(SystemExit) as ended:
            main(["config", "check", "config/sd21.yaml", "--help"])
        sys.stdout.write("✔ →")
        sys.stdout.flush()
    assert ended.value.code == 0
    assert written.getvalue().endswith(b"? ?")


@pytest.mark.parametrize("command", [("render",), ("weights",), ("breaking-point",)])
def test_a_file_that_is_not_there_is_the_argument_that_was_given(command: tuple[str, ...]) -> None:
    """These commands have no option --applications, which the advice of the others names."""
    words = ("sd21-inf2", "--url", "http://x") if command[0] == "breaking-point" else ()
    said = _refused(command[0], "config/absent.yaml", *words)
    assert "FILE]': Path 'config/absent.yaml' does not exist." in said.replace("'FILE'", "'[FILE]'")
    assert "--applications" not in said


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("pause", "--why", "x", "--for", "5x"), "--for"),
        (("pin", "cost", "--why", "x", "--for", "0s"), "--for"),
        (("history", "--since", "400d"), "--since"),
        (("pause", "--why", " "), "--why"),
    ],
)
def test_a_wrong_value_is_named_with_its_option(words: tuple[str, ...], option: str) -> None:
    """Where a command has several, people must know which."""
    assert f"Invalid value for {option}: found " in _refused(*words)


def test_a_wrong_setting_of_a_simulation_blames_set_and_no_other_option() -> None:
    """A sweep takes settings too."""
    said = _refused("simulate", "day", "--set", "patienceSeconds=abc")
    assert "--set patienceSeconds=abc" in said
    assert 'found "abc" (text); allowed: a number' in said
    assert "--sweep" not in said


@pytest.mark.parametrize(
    ("user", "problem", "fix"),
    [
        pytest.param(_plugin("no-such-aws", "eks"), "'no-such-aws'", "install that program (for EKS the AWS CLI)", id="aws is missing"),
        pytest.param(
            _plugin("sh", "-c", "echo 'The SSO session has expired' >&2; exit 255"), "SSO session has expired", "aws sso login", id="SSO"
        ),
    ],
)
def test_a_credential_plugin_that_fails(user: dict[str, object], problem: str, fix: str, tmp_path: Path) -> None:
    """The package logs it and goes on without credentials; here it is the error."""
    said = _refused("plan", "--kubeconfig", _kubeconfig(tmp_path, user), "--applications", str(write_application(tmp_path)))
    assert problem in said
    assert f"fix: {fix}" in said


def test_a_context_that_does_not_exist(tmp_path: Path) -> None:
    """The command that lists them."""
    words = ("--kubeconfig", _kubeconfig(tmp_path, {"token": "x"}), "--context", "nope", "--applications", str(write_application(tmp_path)))
    assert "kubectl config get-contexts" in _refused("plan", *words)


@pytest.mark.parametrize(
    ("token", "problem", "fix"),
    [("wrong", "401", "log in again (`aws sso login`)"), ("nobody", "403", "let somebody grant it: docs/permissions.md")],
)
def test_credentials_that_are_not_accepted_or_not_enough(api: EmulatedKubeApi, token: str, problem: str, fix: str, tmp_path: Path) -> None:
    """Two different things to do."""
    kubeconfig = str(api.kubeconfig(token, tmp_path / "kubeconfig"))
    said = _refused("doctor", "sd21", "--kubeconfig", kubeconfig, "--applications", str(write_application(tmp_path)))
    assert problem in said
    assert f"fix: {fix}" in said


@pytest.mark.parametrize(("words", "code"), [((), 130), (("--json",), 130), (("--until", "cost"), 130), (("--watch",), 0)])
def test_a_status_that_is_interrupted_is_no_success(
    words: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script must not take nothing for an answer. What only watches is ended so by everybody."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ApplicationObserver, "observe", interrupted)
    common = ("--kubeconfig", _kubeconfig(tmp_path, {"token": "x"}), "--applications", str(write_application(tmp_path)))
    assert CliRunner().invoke(main, ["status", *common, *words]).exit_code == code


def test_the_version_is_a_command() -> None:
    """As with kubectl and helm."""
    assert CliRunner().invoke(main, ["version"]).output.startswith(f"failoverctl {__version__}")


@pytest.mark.parametrize("of", ["argument", "settings"])
def test_wrong_settings_are_found_whichever_files_are_checked(of: str, tmp_path: Path) -> None:
    """What a pod would refuse to start with must not pass in CI."""
    settings, file = tmp_path / "settings.yaml", Path("config/sd21.yaml").resolve()
    settings.write_text("polls: {tick_interval_s: 100000}\n")
    words = [str(file)] if of == "argument" else ["--applications", str(file)]
    result = CliRunner().invoke(main, ["config", "check", *words, "--settings", str(settings)])
    assert (result.exit_code, "tick_interval_s" in result.output) == (1, True)
