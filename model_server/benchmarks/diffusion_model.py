"""A Stable Diffusion 2.1 with random weights: its real architecture, or one as small as a test needs."""

import shutil
from pathlib import Path

from tests.pipelines import models

UNET = {
    "sample_size": 96,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
"""866 million parameters; pictures of 768 x 768 pixels, as `unet/config.json` of Stable Diffusion 2.1 has it."""
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 768,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
"""As `vae/config.json`."""
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "projection_dim": 512,
    "hidden_act": "gelu",
    "max_position_embeddings": 77,
}
"""As `text_encoder/config.json`."""


def make(folder: Path, *, tiny: bool) -> None:
    """Write the model.

    Args:
        folder: where; must not exist.
        tiny: the model of the tests, with pictures of 64 x 64 pixels, instead of the real architecture, which takes 2.6 GB.
    """
    models.stable_diffusion(folder)
    if tiny:
        return
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(models.SEED)
    for name, part in (
        ("unet", UNet2DConditionModel(**UNET)),
        ("vae", AutoencoderKL(**VAE)),
        ("text_encoder", CLIPTextModel(CLIPTextConfig(**TEXT))),
    ):
        shutil.rmtree(folder / name)
        part.half().eval().save_pretrained(folder / name)
