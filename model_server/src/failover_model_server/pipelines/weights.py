"""Weights: safetensors alone, from local files, with every one of them present."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from failover_model_server.errors import LoadError
from failover_model_server.pipelines.base import Placement
from failover_model_server.pipelines.prepacked import prepack
from failover_model_server.tasks.loading import loading

log = structlog.get_logger()

NAMES_SHOWN = 3
FATAL = ("missing_keys", "mismatched_keys", "error_msgs", "conversion_errors")
"""What libraries report and go on without: a model of random weights answers, wrongly."""


def load_weights(what: str, loader: Any, directory: Path, **options: Any) -> Any:
    """`loader.from_pretrained(directory)`, refused if any weight is missing or of another shape.

    Weights that the model has no use for are accepted: heads of another task, buffers that older versions saved.

    Raises:
        LoadError: no safetensors file, a broken one, or weights missing; names the first of them.
    """
    with loading(what, directory):
        model, info = loader.from_pretrained(
            str(directory), local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    _refuse_gaps(what, directory, info)
    return model.eval()


def load_model(loader: Any, directory: Path, placement: Placement) -> Any:
    """A model of transformers, placed, with its weights laid out for the processor where it runs on one.

    Raises:
        LoadError: as `load_weights`.
    """
    device = {"": str(placement.device)}
    model = load_weights("the model", loader, directory, trust_remote_code=False, dtype=placement.dtype, device_map=device)
    if placement.prepacks and (reason := prepack(model)):
        log.warning("weights_not_prepacked", reason=reason)
    return model


def variant_of(directory: Path) -> str | None:
    """`fp16` if a diffusers directory holds only weights of that variant, as a selective download leaves it; else None."""
    names = [file.name for file in directory.glob("*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def _refuse_gaps(what: str, directory: Path, info: Mapping[str, Any]) -> None:
    for kind in FATAL:
        found = sorted(str(name) for name in info.get(kind) or ())
        if found:
            some = ", ".join(found[:NAMES_SHOWN]) + (" …" if len(found) > NAMES_SHOWN else "")
            raise LoadError(
                f"{what} of {directory}: {len(found)} {kind.replace('_', ' ')}: {some}; "
                "the checkpoint is not complete, or was saved for other versions of transformers and diffusers"
            )
