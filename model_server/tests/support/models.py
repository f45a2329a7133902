"""Models of a few kilobytes: the files of the real ones, with weights that are whole safetensors files."""

import json
import random
import struct


def safetensors(size: int, seed: int = 0) -> bytes:
    """A safetensors file with one tensor of `size` bytes."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(size)


def diffusers() -> dict[str, bytes]:
    """A pipeline in two precisions and two formats, with a checkpoint for other programs, as Stable Diffusion 2.1 is published."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "requires_safety_checker": False,
    }
    files = {
        "model_index.json": json.dumps(index).encode(),
        "README.md": b"a model",
        ".gitattributes": b"*.bin filter=lfs",
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/merges.txt": b"#version: 0.2",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/tokenizer_config.json": b"{}",
        "text_encoder/config.json": b"{}",
        "unet/config.json": b"{}",
        "v2-1_768-ema-pruned.ckpt": b"pickle" * 3000,
        "v2-1_768-ema-pruned.safetensors": safetensors(18_000),
    }
    for folder, base, pickled in (
        ("text_encoder", "model", "pytorch_model"),
        ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
    ):
        files |= {
            f"{folder}/{base}.fp16.safetensors": safetensors(2_000, seed=1),
            f"{folder}/{base}.safetensors": safetensors(4_000, seed=2),
            f"{folder}/{pickled}.fp16.bin": b"pickle" * 300,
            f"{folder}/{pickled}.bin": b"pickle" * 700,
        }
    return files


def transformers(shards: int = 0) -> dict[str, bytes]:
    """A text model, whole or sharded, with what its publishers add."""
    files = {
        "config.json": b"{}",
        "generation_config.json": b"{}",
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "pytorch_model.bin": b"pickle" * 500,
        "consolidated.safetensors": safetensors(3_000),
        "original/consolidated.00.pth": b"pickle" * 500,
        "modeling_custom.py": b"import os",
        "onnx/model.onnx": b"onnx",
    }
    if not shards:
        return files | {"model.safetensors": safetensors(3_000)}
    names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    index = {"metadata": {}, "weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    return (
        files
        | {"model.safetensors.index.json": json.dumps(index).encode()}
        | {name: safetensors(1_000, seed) for seed, name in enumerate(names)}
    )
