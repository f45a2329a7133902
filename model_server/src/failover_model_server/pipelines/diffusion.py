"""Stable Diffusion: a batch of prompts, drawn together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from failover_model_server.pipelines.base import Compile, Pipeline, Placement
from failover_model_server.pipelines.weights import load_weights, variant_of
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.loading import loading
from failover_model_server.tasks.payloads import Drawing


class DiffusionPipeline(Pipeline):
    """Draws with a diffusers pipeline, whose scheduler has state: one call at a time.

    Each item has a generator of its own, on the processor, so that a seed gives the same noise on every device and in every batch.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.pipe.set_progress_bar_config(disable=True)

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """An array (height, width, 3) of uint8 for each item; None where it is not finite."""
        drawings = [item.payload for item in items if isinstance(item.payload, Drawing)]

        def after_step(_pipe: Any, _step: int, _time: Any, values: Any) -> Any:
            run.step()
            return values

        with torch.inference_mode():
            images = self.pipe(
                prompt=[drawing.prompt for drawing in drawings],
                negative_prompt=[drawing.negative_prompt for drawing in drawings],
                num_inference_steps=drawings[0].steps,
                guidance_scale=drawings[0].guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(drawing.seed) for drawing in drawings],
                output_type="np",
                callback_on_step_end=after_step,
            ).images
        return [(image * 255).round().astype(np.uint8) if np.isfinite(image).all() else None for image in images]

    def compile(self, compiled: Compile) -> None:
        """UNet and decoder: nearly all of the time. Attention slicing would undo it and is not used."""
        self.pipe.unet.forward = compiled(self.pipe.unet.forward)
        self.pipe.vae.decode = compiled(self.pipe.vae.decode)


def text_to_image(directory: Path, placement: Placement, _task: object) -> DiffusionPipeline:
    """Stable Diffusion 1.x and 2.x; parts are loaded one by one, so that each is known to be complete."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    parts = {
        "text_encoder": _part("text_encoder", CLIPTextModel, directory, dtype=placement.dtype),
        "unet": _part("unet", UNet2DConditionModel, directory, torch_dtype=placement.dtype),
        "vae": _part("vae", AutoencoderKL, directory, torch_dtype=placement.dtype),
    }
    with loading("the pipeline", directory):
        pipe = StableDiffusionPipeline.from_pretrained(
            str(directory), local_files_only=True, safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts
        )
    for part in ("unet", "vae"):
        parts[part].to(memory_format=torch.channels_last)  # what convolutions are fastest in
    return DiffusionPipeline(pipe.to(placement.device))


def _part(name: str, loader: Any, directory: Path, **options: Any) -> Any:
    return load_weights(f"the {name}", loader, directory / name, variant=variant_of(directory / name), **options)
