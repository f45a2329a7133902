"""Load tokenizers, image processors and configurations: local files, no remote code, errors that an operator can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from failover_model_server.errors import LoadError

BACKENDS_SINCE = 5
"""The version of transformers whose image processors have a choice of backends; before, there were fast ones and others."""


@contextmanager
def loading(what: str, model: Path) -> Iterator[None]:
    """Turn whatever a library raises while it loads a part of a model into a LoadError that names the part and the directory."""
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{what} of {model}: {error}") from error


def image_processor(model: Path, **options: Any) -> Any:
    """The image processor of a directory, computed by Pillow and NumPy: the two generations of transformers then make the same pixels.

    Raises:
        LoadError: there is none.
    """
    import transformers

    pillow = {"backend": "pil"} if int(transformers.__version__.partition(".")[0]) >= BACKENDS_SINCE else {"use_fast": False}
    return from_directory("the image processor", transformers.AutoImageProcessor, model, **pillow, **options)


def from_directory(what: str, loader: Any, model: Path, **options: Any) -> Any:
    """`loader.from_pretrained(model)`, offline and without code from the model's directory.

    Raises:
        LoadError: a file is missing, or of another kind of model.
    """
    if not model.is_dir():
        raise LoadError(f"{what}: {model} is not a directory")
    with loading(what, model):
        return loader.from_pretrained(str(model), local_files_only=True, trust_remote_code=False, **options)
