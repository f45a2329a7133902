"""Neuron artifacts are checked against this server and this machine before anything is imported."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from failover_model_server.cli import main
from failover_model_server.compiled import artifact as artifacts
from failover_model_server.compiled.artifact import Artifact, Runtime, check, read, write
from failover_model_server.download.plan import ARTIFACT
from failover_model_server.errors import LoadError
from failover_model_server.serving.model_files import prepare
from failover_model_server.settings import Settings

COMMIT = "4e63672c03103b6c636b8fb4119ba982469b2955"
GOOD = Artifact(
    model="org/model",
    revision=COMMIT,
    task="text-to-image",
    compiler="2.21.33363.0",
    torch_neuronx="2.8.0.2.10.16998",
    target="trn1",
    tensor_parallel=1,
    shapes={"batch_size": 1, "height": 512, "width": 512},
    files={"unet/model.neuron": 4},
)
HERE = Runtime({"compiler": "2.21.33363.0", "torch_neuronx": "2.8.0.2.10.16998"}, "trn1", 2)


def _settings(directory: Path, **more: object) -> Settings:
    given = {"backend": "neuron", "task": "text-to-image", "model": "hf://org/model", "revision": COMMIT, "compiled_model": str(directory)}
    return Settings(**{**given, **more})  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.neuron").write_bytes(b"neff")
    (tmp_path / "model_index.json").write_text("{}")
    write(tmp_path, GOOD)
    return tmp_path


def test_artifacts_for_this_machine_pass(directory: Path) -> None:
    """What was written is read back, and fits."""
    assert read(directory) == GOOD
    assert check(directory, _settings(directory), HERE) == GOOD


WRONG = [
    pytest.param({"task": "text-generation"}, {}, HERE, "task is text-generation", id="task"),
    pytest.param({"model": "org/other"}, {}, HERE, "model is org/other, MODEL_SERVER_MODEL is org/model", id="model"),
    pytest.param({"revision": "f" * 40}, {}, HERE, "revision is ffff", id="revision"),
    pytest.param({"compiler": "2.20.1.0"}, {}, HERE, r"compiler is 2\.20\.1\.0, here is neuronx-cc 2\.21\.33363\.0", id="compiler"),
    pytest.param({"torch_neuronx": "2.7.0"}, {}, HERE, r"torch_neuronx is 2\.7\.0", id="torch-neuronx"),
    pytest.param({"target": "trn2"}, {}, HERE, "target is trn2, this instance is a trn1", id="target"),
    pytest.param({"tensor_parallel": 4}, {}, HERE, "tensor_parallel is 4, this pod has 2 NeuronCores", id="cores"),
    pytest.param({}, {"batch_buckets": (1, 2)}, HERE, r"shapes\.batch_size is 1, MODEL_SERVER_BATCH_BUCKETS", id="batch size"),
    pytest.param({"files": {"unet/model.neuron": 5}}, {}, HERE, "has 5 bytes; it has 4", id="size of a file"),
    pytest.param(
        {"files": {"unet/model.neuron": 4, "vae/model.neuron": 4}}, {}, HERE, "vae/model.neuron, which is missing", id="file gone"
    ),
    pytest.param({"files": {"other/model.neuron": 4}}, {}, HERE, "other/model.neuron, which is missing", id="other file"),
    pytest.param(
        {}, {}, replace(HERE, versions={"compiler": None, "torch_neuronx": None}), "neuronx-cc is not installed", id="not the image"
    ),
]


@pytest.mark.parametrize(("change", "settings", "runtime", "message"), WRONG)
def test_what_does_not_fit_is_named(
    directory: Path, change: dict[str, object], settings: dict[str, object], runtime: Runtime, message: str
) -> None:
    """Each field that differs gives an error with the field, both values, and no stack trace of a compiler."""
    write(directory, replace(GOOD, **change))  # type: ignore[arg-type]
    with pytest.raises(LoadError, match=message):
        check(directory, _settings(directory, **settings), runtime)


def test_a_file_of_another_compilation_is_found(directory: Path) -> None:
    """Artifacts of two compilations in one directory are not a model."""
    (directory / "vae").mkdir()
    (directory / "vae" / "model.neuron").write_bytes(b"old")
    with pytest.raises(LoadError, match=r"does not name vae/model.neuron"):
        check(directory, _settings(directory), HERE)


def test_an_unknown_instance_is_not_called_wrong(directory: Path) -> None:
    """Outside EC2 the target is unknown and is not compared."""
    check(directory, _settings(directory), replace(HERE, target=None))


BROKEN = [
    ("", "is no JSON"),
    ("[]", "schema"),
    ('{"schema": 2}', "schema is not 1"),
    (json.dumps({"schema": 1, **asdict(GOOD), "compiler": 3}), "compiler is 3 and should be a text"),
    (json.dumps({"schema": 1, **asdict(GOOD), "shapes": {"batch_size": 0}}), "batch_size is 0"),
    (json.dumps({"schema": 1, **asdict(GOOD), "files": {}}), "files is {}"),
    (json.dumps({"schema": 1, **asdict(GOOD), "tensor_parallel": True}), "tensor_parallel is True"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_manifest_names_the_field(directory: Path, text: str, message: str) -> None:
    """A manifest that says too little is refused like one that says the wrong thing."""
    (directory / ARTIFACT).write_text(text)
    with pytest.raises(LoadError, match=message):
        read(directory)


def test_the_server_checks_before_it_loads(directory: Path) -> None:
    """In DOWNLOADING already; here, where no Neuron library is installed, that is what is said."""
    with pytest.raises(LoadError, match="neuronx-cc is not installed here; serve this model from the Neuron image"):
        prepare(_settings(directory), lambda _here, _total: None)


def test_the_command_writes_what_is_installed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the artifacts were compiled, versions and files are looked up, not typed."""
    (directory / ARTIFACT).unlink()
    monkeypatch.setattr(artifacts, "_installed", {"neuronx-cc": "2.21.33363.0", "torch-neuronx": "2.8.0.2.10.16998"}.__getitem__)
    arguments = [
        "artifact",
        str(directory),
        "--model",
        "org/model",
        "--revision",
        COMMIT,
        "--task",
        "text-to-image",
        "--instance",
        "inf2.xlarge",
    ]
    shapes = ["--shape", "batch_size=1", "--shape", "height=512", "--shape", "width=512"]
    result = CliRunner().invoke(main, [*arguments, *shapes])
    assert result.exit_code == 0, result.output
    assert read(directory) == GOOD


REFUSED = [
    pytest.param(["--shape", "batch_size"], "write it as batch_size=1", id="no number"),
    pytest.param(["--shape", "height=512"], "batch_size is missing", id="no batch size"),
    pytest.param(["--shape", "batch_size=1", "--instance", "g5.xlarge"], "has no NeuronCores", id="no Neuron"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_the_command_refuses_what_cannot_be(directory: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    """Mistakes are one sentence."""
    monkeypatch.setattr(artifacts, "_installed", lambda _package: "1")
    given = ["artifact", str(directory), "--model", "m", "--revision", "r", "--task", "t", "--instance", "inf2", *arguments]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert message in result.output


def test_the_command_needs_the_compiler(directory: Path) -> None:
    """On another machine it would write nothing true."""
    given = ["artifact", str(directory), "--model", "m", "--revision", "r", "--task", "t", "--instance", "inf2", "--shape", "batch_size=1"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert "run this where it was compiled" in result.output


@pytest.mark.parametrize(("visible", "cores"), [("0", 1), ("0-1", 2), ("0,2-3", 3), ("", 0)])
def test_cores_are_counted_as_the_runtime_is_configured(monkeypatch: pytest.MonkeyPatch, visible: str, cores: int) -> None:
    """NEURON_RT_VISIBLE_CORES limits them; without devices there are none."""
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", visible)
    assert Runtime.here().cores == cores


@pytest.mark.parametrize(
    ("instance", "target"), [("inf2.xlarge", "trn1"), ("trn1n", "trn1"), ("trn2.48xlarge", "trn2"), ("g5.xlarge", None)]
)
def test_inf2_and_trn1_are_one_target(instance: str, target: str | None) -> None:
    """One compilation serves both."""
    assert artifacts.target_of(instance) == target
