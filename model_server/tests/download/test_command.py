"""`failover-model-server download`, as a person runs it."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from failover_model_server.cli import main
from failover_model_server.download import manifest

from tests.support import hub, models

DATA = Path(__file__).parents[1] / "data"


def test_the_plan_of_stable_diffusion_is_shown() -> None:
    """The published figure: 2.58 GB of at least 25.9 GB, below 11 %."""
    result = CliRunner().invoke(main, ["download", "--listing", str(DATA / "stable-diffusion-2-1.json")])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "Fetches 13 files, 2,581,651,615 of 25,907,088,066 bytes (9.97%)."


def test_a_model_is_fetched_and_its_directory_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is the directory alone, so that scripts can take it; progress goes to standard error."""
    with hub.serve("org/model", models.transformers()) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        result = CliRunner().invoke(main, ["download", "hf://org/model", "--revision", hub.COMMIT, "--to", str(tmp_path)])
        assert result.exit_code == 0, result.output
    assert manifest.read(Path(result.stdout.strip().splitlines()[-1])) is not None
    assert "100.0%" in result.stderr


def test_a_link_gives_the_directory_a_name(tmp_path: Path) -> None:
    """An engine gets a path that does not change with the revision; a second fetch moves the link, a file in its place is an error."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for path, data in models.transformers().items():
            (tmp_path / name / path).parent.mkdir(exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        result = CliRunner().invoke(main, ["download", str(tmp_path / name), "--link", str(tmp_path / "current")])
        assert result.exit_code == 0, result.output
        assert (tmp_path / "current").resolve() == tmp_path / name
    result = CliRunner().invoke(main, ["download", str(tmp_path / "first"), "--link", str(tmp_path / "no" / "current")])
    assert result.exit_code == 1


def test_only_the_plan_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--plan asks for the list and fetches no weights."""
    with hub.serve("org/model", models.diffusers()) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        result = CliRunner().invoke(main, ["download", "org/model", "--revision", hub.COMMIT, "--to", str(tmp_path), "--plan"])
        assert result.exit_code == 0, result.output
        assert "unet/diffusion_pytorch_model.fp16.safetensors" in result.output
        assert not any(path.endswith(".safetensors") for _, path, _ in server.requests)
    assert list(tmp_path.iterdir()) == []


WRONG = [
    pytest.param(["download", "nowhere"], "is no directory here and not ORG/REPO", id="no model"),
    pytest.param(["download", "--plan", "/no/such/directory"], "is not a directory", id="no directory"),
    pytest.param(["download"], "name a MODEL", id="nothing"),
    pytest.param(["download", "--listing", __file__], "is no list of files", id="no list"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_mistakes_are_one_sentence(arguments: list[str], message: str) -> None:
    """No traceback, and an exit code that is not 0."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert message in result.output
