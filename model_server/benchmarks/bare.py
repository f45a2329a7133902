"""The libraries' own pipeline, without a server: what the server's overhead is measured against. Driven over standard input and output.

Started by ``make bench-model-server``: ``python -m benchmarks.bare models FOLDER`` makes the models; ``python -m benchmarks.bare classify
MODEL`` answers each line ``{"prompts": [...], "batch": N, "repeat": M}`` with ``{"seconds": [...]}``, the time of each repetition.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from tests.pipelines import models

BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
LLAMA = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 1376}


def make(folder: Path) -> None:
    """Models with random weights: a tiny classifier, one in the shape of BERT base, and a decoder of 30 million parameters."""
    import torch
    from transformers import AutoConfig, BertForSequenceClassification, LlamaForCausalLM

    models.bert(folder / "tiny")
    for name, build, kind, shape in (
        ("bert", models.bert, BertForSequenceClassification, BERT),
        ("llama", models.llama, LlamaForCausalLM, LLAMA),
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


if __name__ == "__main__":
    make(Path(sys.argv[2])) if sys.argv[1] == "models" else classify(sys.argv[2])
