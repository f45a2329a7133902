"""The images: Dockerfiles as written from images.yaml, versions as locked, digests known or a release refused."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from deploy.images.__main__ import main
from deploy.images.catalog import FILE, Images, Server, load, parse
from deploy.images.dockerfiles import ROOT, dockerfiles, export_options
from deploy.images.lock import PROJECT, locked, wheels
from failover_harness.images import engine
from tests.images.built import standins
from tools import image_figures

IMAGES = load()
SERVERS = sorted(IMAGES.servers)
DIGEST = "sha256:" + "a" * 64
BIN = Path(sys.executable).parent


def _uv() -> str:
    for candidate in (ROOT / ".tools" / "bin" / "uv", *(Path(folder) / "uv" for folder in os.get_exec_path())):
        if candidate.is_file():
            return str(candidate)
    pytest.skip("uv is not installed")


def _exported(server: Server) -> dict[str, tuple[Version, str]]:
    """What the Dockerfile installs in the server's Python: name to version and hashes."""
    options = " ".join(export_options(server)).split()
    command = [_uv(), "export", "--quiet", "--frozen", "--offline", "--project", str(PROJECT), "--no-emit-project", *options]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.replace("\\\n", " ")
    environment = {"python_version": server.python, "python_full_version": f"{server.python}.1", "sys_platform": "linux"}
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line.split(" --hash=")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate({**environment, "platform_machine": "x86_64"}):
            (exact,) = requirement.specifier
            found[requirement.name] = (Version(exact.version), line.partition(" --hash=")[2])
    return found


@pytest.mark.parametrize("path", sorted(dockerfiles(IMAGES)), ids=str)
def test_the_dockerfiles_are_the_generators_output(path: Path) -> None:
    """An edit of a Dockerfile would be lost at the next `make images`."""
    assert (ROOT / path).read_text() == dockerfiles(IMAGES)[path], "run make images"


@pytest.mark.parametrize("path", sorted(dockerfiles(IMAGES)), ids=str)
def test_hadolint_finds_nothing(path: Path) -> None:
    """The linter that users run too."""
    done = subprocess.run([BIN / "hadolint", "--no-color", ROOT / path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / path).read_text())
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]


@pytest.mark.parametrize("path", sorted(dockerfiles(IMAGES)), ids=str)
def test_images_run_as_a_number_and_receive_sigterm(path: Path) -> None:
    """The last user is a number (runAsNonRoot is checked without a passwd), and the entry point is in the exec form."""
    instructions = _instructions(path)
    assert [value for name, value in instructions if name == "USER"][-1] == "65532:65532"
    (entry,) = [value for name, value in instructions if name == "ENTRYPOINT"]
    command = yaml.safe_load(entry)
    assert isinstance(command, list)
    assert command[-1] in {"failoverctl", "failover-model-server"}


@pytest.mark.parametrize("name", SERVERS)
def test_servers_do_without_the_entry_point_and_health_check_of_their_base(name: str) -> None:
    """Those of the Neuron base do not forward SIGTERM and check a port that nothing listens on."""
    text = (ROOT / "deploy" / "images" / f"{name}.Dockerfile").read_text()
    assert "HEALTHCHECK NONE" in text
    assert "dockerd-entrypoint" not in text


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_installs_is_locked_with_hashes_and_leaves_the_base_alone(name: str) -> None:
    """Every distribution has an exact version and hashes; neither torch nor CUDA is installed a second time."""
    server = IMAGES.servers[name]
    found = _exported(server)
    assert not set(found) & {*server.base_has, *server.without, "triton"}
    assert not [one for one in found if one.startswith("nvidia-")]
    assert all("sha256:" in hashes for _, hashes in found.values())
    assert {"fastapi", "grpcio", "boto3"} <= set(found)
    assert {"huggingface-hub", "transformers", "diffusers"} <= set(found) or server.group is None


def _tags(python: str) -> set[Tag]:
    """The tags of wheels that a Python takes on x86-64 with glibc 2.34, which Amazon Linux 2023 has."""
    version = tuple(map(int, python.split(".")))
    platforms = [*(f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)), "manylinux2014_x86_64", "manylinux2010_x86_64"]
    return {*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)}


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_installs_needs_no_compiler(name: str) -> None:
    """The lock has a wheel of each distribution for the Python of the real base, which the stand-ins of `make test-image` do not have."""
    server = IMAGES.servers[name]
    tags = _tags(server.python)
    files = wheels()
    lacking = [
        f"{one} {version}"
        for one, (version, _) in _exported(server).items()
        if not any(parse_wheel_filename(file)[3] & tags for file in files[one, str(version)])
    ]
    assert lacking == []


def test_the_tags_would_notice() -> None:
    """A wheel for another Python, or for a newer glibc, is none for this one."""
    tags = _tags("3.12")
    assert parse_wheel_filename("x-1-cp312-cp312-manylinux_2_28_x86_64.whl")[3] & tags
    assert not parse_wheel_filename("x-1-cp313-cp313-manylinux_2_28_x86_64.whl")[3] & tags
    assert not parse_wheel_filename("x-1-cp312-cp312-manylinux_2_39_x86_64.whl")[3] & tags


@pytest.mark.parametrize("name", SERVERS)
def test_an_image_finds_its_program_without_the_base(name: str) -> None:
    """The base's own entry point, which is not used, may be what puts its environment on the path."""
    text = (ROOT / "deploy" / "images" / f"{name}.Dockerfile").read_text()
    assert f"PATH={Path(IMAGES.servers[name].interpreter).parent}:$PATH" in text


def test_what_images_are_built_with_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make test-image` skips with this text at its end; a program that is there is not in it."""
    for program in engine.PROGRAMS[1:]:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(engine.Unavailable, match=r"^buildah not installed; on Debian `apt-get install`"):
        engine.require()


@pytest.mark.parametrize("name", [name for name in SERVERS if IMAGES.servers[name].base_has])
def test_a_stand_in_has_what_the_dockerfile_leaves_out(name: str) -> None:
    """Of the base's distributions, the locked versions with their hashes; the two together are what the lock installs without a base."""
    server = IMAGES.servers[name]
    lines = standins.of_the_base(server, Path(_uv())).splitlines()
    names = {Requirement(line.split(" --hash=")[0].strip()).name for line in lines}
    assert {*server.base_has, *server.without} <= names
    assert not names & set(_exported(server))
    assert all(" --hash=sha256:" in line for line in lines)


def test_the_page_has_the_recorded_figures() -> None:
    """`python -m tools.image_figures --write` writes both; a figure that differs is named."""
    assert image_figures.page(image_figures.DOCUMENT.read_text(), image_figures.recorded()) == image_figures.DOCUMENT.read_text()
    before = {"distributions": 80, "added_mb": 500}
    assert image_figures.differs({"distributions": 80, "added_mb": 549}, before) == []
    assert image_figures.differs({"distributions": 81, "added_mb": 600}, before) == [
        "81 distributions, recorded 80",
        "600 MB added, recorded 500",
    ]


@pytest.mark.parametrize("name", SERVERS)
def test_the_base_has_the_versions_that_were_tested(name: str) -> None:
    """Torch and torchvision of the base are those of the lock, except where the SDK intentionally has another torch."""
    server = IMAGES.servers[name]
    pinned = locked()
    for one, version in server.base_has.items():
        assert server.other_torch or version in pinned[one], f"{one}: the base has {version}, locked are {pinned[one]}"
    requires = re.search(r'requires-python = "([^"]+)"', (PROJECT / "pyproject.toml").read_text())
    assert requires is not None
    assert f"{server.python}.1" in SpecifierSet(requires[1])


def test_the_neuron_image_is_the_sdk_that_optimum_neuron_pins() -> None:
    """optimum-neuron 0.4.5 is for SDK 2.26.1, torch 2.8, transformers 4.57 and Python before 3.12: all of them or none."""
    server = IMAGES.servers["neuron"]
    found = _exported(server)
    assert str(found["optimum-neuron"][0]) == "0.4.5"
    assert found["transformers"][0] in SpecifierSet("~=4.57.1")
    assert "sdk2.26.1" in IMAGES.bases[server.base].tag
    assert server.base_has["torch"].startswith("2.8.")
    assert Version(server.python) < Version("3.12")


def test_the_installer_is_the_one_that_locks() -> None:
    """Uv in the images is the Makefile's."""
    version = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert version is not None
    assert IMAGES.bases["uv"].tag == version[1]


@pytest.mark.parametrize("digest", ["", "latest", "sha256:123", "sha256:" + "g" * 64, "unknown"])
def test_a_digest_is_valid_or_marked_unresolved(digest: str) -> None:
    """No malformed digest is accepted."""
    text = FILE.read_text().replace("digest: unresolved", f"digest: {digest!r}", 1)
    with pytest.raises(ValueError, match="digest"):
        parse(text)


def _with_digests(text: str) -> Images:
    return parse(text.replace("digest: unresolved", f"digest: {DIGEST}"))


def test_a_release_without_digests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, naming each image and what resolves it, and by the Dockerfile itself."""
    monkeypatch.setattr("deploy.images.__main__.load", lambda: parse(FILE.read_text().replace(DIGEST, "unresolved")))
    result = CliRunner().invoke(main, ["release"])
    if IMAGES.unresolved():
        assert result.exit_code == 1
        assert f"crane digest {next(iter(IMAGES.unresolved().values())).tagged}" in result.output
    monkeypatch.setattr("deploy.images.__main__.load", lambda: _with_digests(FILE.read_text()))
    assert CliRunner().invoke(main, ["release"]).exit_code == 0


def test_the_dockerfile_of_an_unresolved_base_refuses_a_release() -> None:
    """The guard is run as the build would run it: with RELEASE=true it fails, without it passes; with all digests it is gone."""
    made = dockerfiles(parse(re.sub(r"digest: sha256:\w+", "digest: unresolved", FILE.read_text())))
    resolved = dockerfiles(_with_digests(FILE.read_text()))
    for path, text in made.items():
        (guard,) = re.findall(r"^RUN (\[ .+)$", text, re.MULTILINE)
        for release, code in (("true", 1), ("false", 0)):
            done = subprocess.run(["/bin/sh", "-c", guard], env={"RELEASE": release}, capture_output=True, timeout=10, check=False)
            assert done.returncode == code
        assert "RELEASE" not in resolved[path]
        assert resolved[path].count(f"@{DIGEST}") == 2


def _copy(tmp_path: Path, crane: str) -> tuple[Path, dict[str, str]]:
    copy = tmp_path / "images.yaml"
    copy.write_text(re.sub(r"digest: sha256:\w+", "digest: unresolved", FILE.read_text()))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "crane").write_text(f"#!/bin/sh\n{crane}\n")
    (tmp_path / "bin" / "crane").chmod(0o755)
    return copy, {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}


def test_digests_are_resolved_with_crane_and_comments_stay(tmp_path: Path) -> None:
    """Each missing digest is read from its registry by tag and written in its place; nothing else in the file changes."""
    copy, environment = _copy(tmp_path, f'echo "$1 $2" >> {tmp_path}/asked; echo {DIGEST}')
    result = CliRunner().invoke(main, ["resolve", "--file", str(copy)], env=environment)
    assert result.exit_code == 0, result.output
    assert load(copy).unresolved() == {}
    assert copy.read_text().replace(DIGEST, "unresolved") == re.sub(r"digest: sha256:\w+", "digest: unresolved", FILE.read_text())
    assert (tmp_path / "asked").read_text().splitlines() == [f"digest {base.tagged}" for base in IMAGES.bases.values()]


@pytest.mark.parametrize(("crane", "message"), [("echo denied >&2; exit 1", "denied"), ("echo nonsense", "digest")])
def test_a_digest_that_cannot_be_read_is_not_invented(tmp_path: Path, crane: str, message: str) -> None:
    """An error, or an answer that is not a digest, leaves the file unchanged."""
    copy, environment = _copy(tmp_path, crane)
    before = copy.read_text()
    result = CliRunner().invoke(main, ["resolve", "--file", str(copy)], env=environment)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)
    assert copy.read_text() == before


def test_without_crane_the_commands_are_printed(tmp_path: Path) -> None:
    """So that they can be run where crane is installed."""
    result = CliRunner().invoke(main, ["resolve"], env={"PATH": str(tmp_path)})
    if IMAGES.unresolved():
        assert result.exit_code == 1
        assert "crane digest public.ecr.aws/" in result.output


@pytest.mark.parametrize("compat", [True, False], ids=["older driver", "no such libraries"])
def test_sigterm_reaches_the_command_behind_the_entry_point(tmp_path: Path, compat: bool) -> None:
    """The script sets the library path where the base says so, and then is the command: same process, signals and exit code included."""
    script = tmp_path / "start_cuda_compat.sh"
    if compat:
        script.write_text("echo found an older driver\nexport LD_LIBRARY_PATH=/usr/local/cuda/compat:$LD_LIBRARY_PATH\n")
    child = (
        "import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); "
        "print(os.getpid(), os.environ['LD_LIBRARY_PATH'], flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [PROJECT / "container" / "with-cuda-compat", sys.executable, "-c", child],
        env={"CUDA_COMPAT_SCRIPT": str(script), "LD_LIBRARY_PATH": "/lib/x", "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        pid, libraries = process.stdout.readline().split()
        assert int(pid) == process.pid
        assert libraries == ("/usr/local/cuda/compat:/lib/x" if compat else "/lib/x")
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 7
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(300)
def test_the_installation_of_an_image_runs(tmp_path: Path) -> None:
    """The commands of the adapter's Dockerfile, on a bare Python instead of the base image, since there may be no container engine here."""
    project, python = tmp_path / "src", tmp_path / "venv" / "bin" / "python"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".venv*", "tests", "benchmarks", "__pycache__", ".*_cache"))
    subprocess.run([_uv(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], timeout=60, check=True)
    text = re.sub(r"\\\n", " ", (ROOT / "deploy" / "images" / "adapter.Dockerfile").read_text())
    (install,) = re.findall(r"^RUN (?:--mount=\S+ +)+(uv export .+)$", text, re.MULTILINE)
    (smoke,) = re.findall(r"^RUN (/usr/local/bin/python -c \".+?\")", text, re.MULTILINE)
    here = {"/usr/local/bin/python": str(python), "/src": str(project), "/tmp/requirements.txt": str(tmp_path / "requirements.txt")}
    for written in (install, smoke):
        command = written
        for before, after in here.items():
            command = command.replace(before, after)
        environment = {**os.environ, "PATH": f"{Path(_uv()).parent}:{os.environ['PATH']}"}
        subprocess.run(["/bin/bash", "-o", "pipefail", "-ec", command], env=environment, timeout=240, check=True)
    assert "--require-hashes" in install
    shown = subprocess.run([python.parent / "failover-model-server", "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "adapter" in shown.stdout
