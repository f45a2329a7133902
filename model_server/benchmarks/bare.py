"""The libraries' own pipeline, without a server: what the server's overhead is measured against. Driven over standard input and output.

Started by ``make bench-model-server``: ``python -m benchmarks.bare models FOLDER`` makes the models; ``python -m benchmarks.bare classify
MODEL`` answers each line ``{"prompts": [...], "batch": N, "repeat": M}`` with ``{"seconds": [...]}``, the time of each repetition;
``python -m benchmarks.bare draw MODEL DEVICE`` does the same for ``{"prompts": [...], "steps": N, "repeat": M}``.
"""

import base64
import io
import json
import shutil
import sys
import time
from pathlib import Path

from tests.pipelines import models

BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
MINILM = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
VIT = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768, "image_size": 224, "patch_size": 16}


def make(folder: Path) -> None:
    """Models with random weights: a tiny classifier, the shapes of BERT base, MiniLM and ViT-Tiny."""
    import torch
    from transformers import AutoConfig, BertForSequenceClassification, ViTForImageClassification, ViTImageProcessor

    models.bert(folder / "tiny")
    for name, build, kind, shape in (
        ("bert", models.bert, BertForSequenceClassification, BERT),
        ("minilm", models.bert, BertForSequenceClassification, MINILM),
        ("vit", models.vit, ViTForImageClassification, VIT),
    ):
        build(folder / name)
        config = AutoConfig.from_pretrained(folder / name)
        for field, value in shape.items():
            setattr(config, field, value)
        if hasattr(config, "head_dim"):
            config.head_dim = shape["hidden_size"] // shape["num_attention_heads"]
        torch.manual_seed(models.SEED)
        (folder / name / "model.safetensors").unlink()
        made = kind(config).eval()
        kept = folder / f"{name}.kept"
        made.save_pretrained(kept)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(kept / file, folder / name / file)
        shutil.rmtree(kept)
    tokenizer = folder / "minilm" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "model_max_length": MINILM["max_position_embeddings"]}))
    ViTImageProcessor(size={"height": VIT["image_size"], "width": VIT["image_size"]}).save_pretrained(folder / "vit")
    (folder / "picture.txt").write_text(picture())


def picture() -> str:
    """A JPEG in base64, 640 x 480 pixels, as a camera's thumbnail: decoding and scaling are part of a request."""
    from PIL import Image

    image, encoded = Image.effect_noise((640, 480), 64).convert("RGB"), io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return base64.b64encode(encoded.getvalue()).decode()


def classify(model: str) -> None:
    """Serves the lines on standard input."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    made = pipeline("text-classification", model=model, device="cpu")
    for line in sys.stdin:
        order = json.loads(line)
        seconds = []
        for _ in range(order["repeat"]):
            begin = time.perf_counter()
            made(order["prompts"], batch_size=order["batch"], top_k=None)
            seconds.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": seconds}), flush=True)


def draw(model: str, device: str) -> None:
    """Serves the lines on standard input with diffusers' own pipeline, as its documentation loads it."""
    import torch
    from diffusers import StableDiffusionPipeline

    dtype = torch.float32 if device == "cpu" else torch.float16
    made = StableDiffusionPipeline.from_pretrained(model, torch_dtype=dtype, safety_checker=None, requires_safety_checker=False).to(device)
    made.set_progress_bar_config(disable=True)
    for line in sys.stdin:
        order = json.loads(line)
        seconds = []
        for _ in range(order["repeat"]):
            begin = time.perf_counter()
            made(prompt=order["prompts"], num_inference_steps=order["steps"], output_type="np")  # on the processor, so it is complete
            seconds.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    commands = {"models": lambda folder: make(Path(folder)), "classify": classify, "draw": draw}
    commands[sys.argv[1]](*sys.argv[2:])
