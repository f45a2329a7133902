"""What is installed where: the image holds the controller alone, each wheel its own packages, and a command names the extra it lacks.

The image's environment is made by the instructions of the Dockerfile's build stage themselves, on the files that it copies and no others.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from controller.clock import SystemClock
from failover_testbed.aws.server import EmulatedAws
from tests.clients.test_iam import IMPLIED, PREFIXES
from tests.support.cluster import Cluster, write_application
from tests.support.made_once import made_once

pytestmark = pytest.mark.timeout(240)

ROOT: Final = Path(__file__).parents[2]
HOME: Final = "/opt/failoverctl"
"""Where the Dockerfile installs."""

OTHER_HOUSES: Final = {"failover_setup", "failover_testbed", "failover_analysis", "failover_harness"}
NOT_IN_THE_IMAGE: Final = OTHER_HOUSES | {"aiohttp", "jinja2", "matplotlib", "moto", "pygments", "rich", "ruamel", "starlette", "uvicorn"}

EXTRAS: Final = {
    **dict.fromkeys(("init", "doctor", "render", "breaking-point", "config", "weights", "drill", "verify-install", "uninstall"), "setup"),
    "demo": "demo",
    "simulate": "analysis",
    "replay": "analysis",
    "worth": "analysis",
}
"""The extra that a command needs."""

CALLS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "cloudwatch": ("describe_alarms", {}),
    "ec2": ("describe_instance_type_offerings", {"LocationType": "availability-zone"}),
    "elbv2": ("describe_load_balancers", {}),
    "events": ("list_event_buses", {}),
    "service-quotas": ("list_aws_default_service_quotas", {"ServiceCode": "vpc"}),
    "sns": ("list_topics", {}),
    "sqs": ("list_queues", {}),
}
"""A call of each service that moto answers."""

NOT_EMULATED: Final = {"pricing"}
"""Services that moto does not have: of these only the model must be in the image."""


def uv() -> str:
    """The installer, as the Makefile finds it."""
    found = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
    if found is None:
        pytest.skip("uv is not installed: `make env` installs it")
    return found


def _environment(**more: str) -> dict[str, str]:
    """The variables of this process without those that would name another environment, colour or AWS account, or slow Python down."""
    ours = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "NO_COLOR", "FORCE_COLOR", "AWS_PROFILE"}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"UV_PYTHON": sys.executable, **more}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the repository, so that nothing is imported from there."""
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=_environment(**environment), capture_output=True, text=True, timeout=120, check=False
    )


def succeeds(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints that ends with 0."""
    done = run(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Installed:
    """A virtual environment.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.bin = path, path / "bin"

    def packages(self) -> set[str]:
        """The names that can be imported from its site-packages."""
        (site,) = self.path.glob("lib/python3.*/site-packages")
        return {path.name.removesuffix(".py") for path in site.iterdir() if not path.name.endswith(".dist-info")}

    def failoverctl(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""
        return run(self.bin / "failoverctl", *words, cwd=self.path, **environment)

    def python(self, script: str, **environment: str) -> str:
        """What a script prints that succeeds."""
        return succeeds(self.bin / "python", "-c", script, cwd=self.path, **environment)


# --- the image --------------------------------------------------------------------------------------------------------------------------


def _build_stage() -> Iterator[tuple[str, str]]:
    """COPY from the repository and RUN with what follows, in the Dockerfile's order."""
    stage = (ROOT / "Dockerfile").read_text().split("AS build\n")[1].split("\nFROM ")[0]
    for line in stage.splitlines():
        if match := re.fullmatch(r"COPY (?!--from)(.+)", line):
            yield "COPY", match[1]
        elif (match := re.fullmatch(r"RUN (.+)", line)) and "RELEASE" not in line:
            yield "RUN", match[1]


def _allowed_in_the_context() -> set[str]:
    """What .dockerignore, which begins with leaving everything out, lets into the build."""
    first, *rest = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    return {line.removeprefix("!") for line in rest if line.startswith("!")}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What the image holds under `HOME`."""
    return Installed(made_once(tmp_path_factory, "image", built_image) / "failoverctl")


def built_image(folder: Path) -> None:
    """Follows the Dockerfile's build stage; the environment is `failoverctl` in the folder."""
    source, home = folder / "src", folder / "failoverctl"
    source.mkdir()
    path = f"{Path(uv()).parent}{os.pathsep}{os.environ['PATH']}"
    for instruction, words in _build_stage():
        if instruction == "RUN":
            command = words.replace(HOME, str(home))
            succeeds(
                "sh",
                "-ec",
                command,
                cwd=source,
                PATH=path,
                UV_PROJECT_ENVIRONMENT=str(home),
                UV_LINK_MODE="copy",
            )
            continue
        *files, target = words.split()
        for file in files:
            assert file in _allowed_in_the_context(), f"{file} is not in the build context"
            if (ROOT / file).is_dir():
                shutil.copytree(ROOT / file, source / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / file, source / target)


def test_the_image_holds_the_controller_alone(image: Installed) -> None:
    assert "controller" in image.packages()
    assert not NOT_IN_THE_IMAGE & image.packages()


def test_the_image_stays_small(image: Installed) -> None:
    """Here without compiled code, which adds about two thirds; docs/laboratory/benchmarks.md has the figures of the image."""
    size = sum(path.lstat().st_size for path in image.path.rglob("*") if "__pycache__" not in path.parts)
    assert size < 40e6
    assert len(list(image.path.glob("lib/python3.*/site-packages/*.dist-info"))) <= 35


def test_every_module_of_the_controller_can_be_imported_there(image: Installed) -> None:
    """Trimming has left what any command imports, and what they import in turn."""
    script = """
import importlib, pkgutil, controller
names = [found.name for found in pkgutil.walk_packages(controller.__path__, "controller.") if not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    assert int(image.python(script)) > 100


def test_requirements_are_installed_but_for_those_of_the_asyncio_client(image: Installed, tmp_path: Path) -> None:
    """A distribution that something else requires stays."""
    done = run(uv(), "pip", "check", "--python", image.bin / "python", cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if "requires" in line]
    assert sorted(re.findall(r"`([\w-]+)`[^`]*`([\w-]+)", "\n".join(lines))) == [
        ("kubernetes", "aiohttp"),
        ("kubernetes", "aiohttp-retry"),
    ], lines


def test_every_aws_client_works_there(image: Installed) -> None:
    """A call of each service over HTTP; and the operations that the IAM policy allows are in the models that stayed."""
    assert set(CALLS) | NOT_EMULATED == set(PREFIXES)
    statements = json.loads((ROOT / "deploy" / "iam" / "policy.json").read_text())["Statement"]
    allowed = sorted({action for one in statements for action in one["Action"]} - set(IMPLIED.values()))
    script = f"""
from controller.clients.aws import AwsClients
clients = AwsClients("us-west-2")
for service, (method, arguments) in {CALLS!r}.items():
    answer = getattr(clients.client(service), method)(**arguments)
    print(service, answer["ResponseMetadata"]["HTTPStatusCode"])
prefixes = { {prefix: service for service, prefix in PREFIXES.items()}!r}
for action in {allowed!r}:
    prefix, _, operation = action.partition(":")
    clients.client(prefixes[prefix]).meta.service_model.operation_model(operation)
"""
    with EmulatedAws() as aws:
        printed = image.python(script, **aws.environment())
    assert printed.split() == [word for service in CALLS for word in (service, "200")]


def test_credentials_of_a_service_account_are_fetched_there(image: Installed, tmp_path: Path) -> None:
    """By a client of STS that botocore makes itself: a pod has a token in a file and the name of a role."""
    (tmp_path / "token").write_text("token")
    script = """
import boto3
print(boto3.session.Session(region_name="us-west-2").get_credentials().get_frozen_credentials().access_key)
"""
    with EmulatedAws() as aws:
        role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/failoverctl", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")}
        without = {name: value for name, value in aws.environment().items() if "KEY" not in name}
        assert image.python(script, **without, **role).startswith("ASIA")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application, in real time."""
    made = Cluster(SystemClock())
    yield made
    made.close()


def _on_a_terminal(command: list[str | Path], **environment: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env=_environment(TERM="xterm", COLUMNS="80", **environment),
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # Linux ends the reading of a terminal that nobody writes to any more with an error
        pass
    finally:
        os.close(ours)
        process.wait(timeout=60)
    return written.decode()


@pytest.mark.parametrize("command", ["plan", "status"])
def test_plan_and_status_have_colour_without_rich(command: str, image: Installed, cluster: Cluster, tmp_path: Path) -> None:
    """On a terminal; not where the user refuses it, nor in a file."""
    write_application(tmp_path)
    kubeconfig = cluster.api.kubeconfig("reader", tmp_path / "kubeconfig")
    words: list[str | Path] = [command, "--kubeconfig", kubeconfig, "--applications", tmp_path / "sd21.yaml"]
    off = {f"FAILOVERCTL_AWS__{name}_ENABLED": "false" for name in ("ELBV2", "CLOUDWATCH", "EC2")}
    coloured = _on_a_terminal([image.bin / "failoverctl", *words], **off)
    assert "\x1b[1m" in coloured
    assert "sd21-inf2" in coloured
    assert "\x1b" not in _on_a_terminal([image.bin / "failoverctl", *words], **off, NO_COLOR="1")
    piped = image.failoverctl(*words, **off)
    assert (piped.returncode, "sd21-inf2" in piped.stdout, "\x1b" in piped.stdout) == (0, True, False), piped.stderr


@pytest.mark.parametrize(("command", "extra"), EXTRAS.items())
def test_a_command_names_its_extra_in_one_line(command: str, extra: str, image: Installed) -> None:
    done = image.failoverctl(command)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: `failoverctl {command}` needs ")
    assert (
        f": pip install 'mixed-accelerator-failover[{extra}]', in a checkout pip install './{'setup' if extra == 'setup' else 'proof'}"
        in line
    )


def test_every_other_command_needs_no_extra(image: Installed) -> None:
    """Each is imported, and shows its help."""
    script = f"""
from click.testing import CliRunner
from controller.cli.main import _COMMANDS, main
others = sorted(_COMMANDS.keys() - {set(EXTRAS)!r})
for command in others:
    result = CliRunner().invoke(main, [command, "--help"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, ""), (command, result.output)
print(*others)
"""
    assert {"run", "plan", "status", "history", "pause"} <= set(image.python(script).split())


def test_the_help_names_every_command(image: Installed) -> None:
    printed = image.failoverctl("--help").stdout
    assert all(f"  {command}" in printed for command in ("run", "plan", *EXTRAS))


# --- the wheels -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels that `make build` makes, by the name of the distribution."""

    def build(folder: Path) -> None:
        succeeds(uv(), "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder, cwd=ROOT)

    folder = made_once(tmp_path_factory, "wheels", build)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


def test_each_wheel_holds_its_own_packages(wheels: dict[str, Path]) -> None:
    """Their names cannot collide in site-packages; what needs real servers is in none."""
    found = {}
    for name, path in wheels.items():
        with zipfile.ZipFile(path) as archive:
            found[name] = {file.partition("/")[0] for file in archive.namelist()} - {f"{name}-0.1.0.dist-info"}
    assert found == {
        "mixed_accelerator_failover": {"controller"},
        "mixed_accelerator_failover_setup": {"failover_setup"},
        "mixed_accelerator_failover_proof": {"failover_testbed", "failover_analysis"},
    }


def _install(environment: Installed, wheels: dict[str, Path], *options: str) -> None:
    """Installs both wheels and the locked versions of what they require."""
    folder = environment.path
    chosen = ("--package", "mixed-accelerator-failover-proof", "--no-dev", "--no-emit-workspace", *options)
    succeeds(uv(), "export", "--quiet", "--frozen", "--project", ROOT, *chosen, "--output-file", folder / "requirements.txt", cwd=ROOT)
    python = ("--quiet", "--python", environment.bin / "python", "--no-deps")
    succeeds(uv(), "pip", "install", *python, "--requirements", folder / "requirements.txt", cwd=folder)
    succeeds(uv(), "pip", "install", *python, *wheels.values(), cwd=folder)


def test_the_extras_bring_their_commands(wheels: dict[str, Path], tmp_path: Path) -> None:
    """`analysis` plays a scenario and lacks the demo's servers, which `demo` brings."""
    made = Installed(tmp_path / "environment")
    succeeds(uv(), "venv", "--quiet", made.path, cwd=tmp_path)
    _install(made, wheels)
    assert "every invariant held" in made.failoverctl("simulate", "cost-wave", "--days", "0.1").stdout
    lacking = made.failoverctl("demo")
    assert (lacking.returncode, len(lacking.stderr.splitlines())) == (1, 1), lacking.stderr
    assert lacking.stderr.strip().endswith("pip install './proof[demo]'")
    _install(made, wheels, "--extra", "demo")
    assert made.failoverctl("demo", "--list").stdout.startswith("seed ")
    assert not {"rich", "failover_harness"} & made.packages()
