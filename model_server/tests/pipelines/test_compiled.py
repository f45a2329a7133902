"""torch.compile: every shape compiled while warming, none afterwards, and the same answers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from failover_model_server.backends.triton import graphs

from tests.pipelines.models import MAKERS
from tests.pipelines.serving import REQUESTS, Serving
from tests.pipelines.test_answers import assert_same

pytestmark = pytest.mark.compiles
Model = Callable[[str], Path]
BUCKETS = (1, 2)


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(variable, "")  # set by the backend; taken back afterwards
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(name: str, directory: Path, caches: Path, **settings: Any) -> Serving:
    """The triton backend on the processor."""
    return Serving(name, directory, "triton", torch_device="cpu", cache_dir=caches, batch_buckets=BUCKETS, **settings)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_shape_is_compiled_while_warming_and_none_later(name: str, model: Model, tmp_path: Path) -> None:
    """Each model is one graph without breaks; after warming, requests of every size and length are answered, rightly, without compiling."""
    serving = compiled(name, model(name), tmp_path, compile_backend="aot_eager", sequence_buckets=(32,))
    assert serving.loaded.static_shapes
    serving.warm(BUCKETS)
    warm = graphs()
    assert warm >= len(BUCKETS)
    eager = Serving(name, model(name))
    for count, size in ((1, 1), (1, 2), (2, 2)):
        requests = REQUESTS[name][:count]
        for answer, request in zip(serving.answer(*requests, padded_to=size), requests, strict=True):
            assert_same(answer, eager.answer(request)[0])
    assert graphs() == warm


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="NO C++ COMPILER: Inductor was not tried")
def test_inductor_compiles_and_answers_the_same(model: Model, tmp_path: Path) -> None:
    """What Inductor makes for the processor answers as eager torch does, and its cache is kept for the next start."""
    serving = compiled("bert", model("bert"), tmp_path, sequence_buckets=(32,), compile_mode="default")
    serving.warm([1, 2])
    answers, eager = serving.answer(*REQUESTS["bert"][:2]), Serving("bert", model("bert"))
    for answer, request in zip(answers, REQUESTS["bert"], strict=False):
        assert_same(answer, eager.answer(request)[0])
    assert serving.backend.cache is not None  # type: ignore[attr-defined]
    assert list((serving.backend.cache.directory / "inductor").rglob("*.so"))  # type: ignore[attr-defined]


def test_a_shape_that_nobody_warmed_is_reported(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A compilation in the middle of serving takes seconds to minutes: the log says so."""
    serving = compiled("vit", model("vit"), tmp_path, compile_backend="aot_eager")
    serving.warm([1])
    serving.answer(REQUESTS["vit"][0])
    assert "compiled after warming" not in capsys.readouterr().out
    serving.answer(*REQUESTS["vit"][:2])
    assert "compiled after warming" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["cuda", "triton"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_reason_is_said(backend: str, model: Model) -> None:
    """The backends for GPUs end with the devices that torch sees and what to check."""
    from failover_model_server.errors import LoadError

    with pytest.raises(LoadError, match=r"'cuda'.*sees 0 CUDA devices.*nvidia\.com/gpu"):
        Serving("bert", model("bert"), backend)
