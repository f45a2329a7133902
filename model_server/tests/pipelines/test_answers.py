"""The pipelines run on the processor, and their answers do not depend on what they share a batch with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipelines.models import MAKERS
from tests.pipelines.serving import REQUESTS, Serving, pixels

ALL = sorted(MAKERS)
Model = Callable[[str], Path]


def assert_same(first: Any, second: Any) -> None:
    """Two responses agree: texts exactly, pictures within one step of 255, numbers within what float32 sums in another order differ by."""
    one, other = first.model_dump(), second.model_dump()
    assert one.keys() == other.keys()
    for field, value in one.items():
        if isinstance(value, str) and len(value) > 1000:
            assert abs(pixels(value) - pixels(other[field])).max() <= 1
        else:
            assert other[field] == _rounded(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-3, abs=1e-4)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ALL)
def test_each_pipeline_answers_its_synthetic_requests(name: str, model: Model) -> None:
    """All shapes run at all batch sizes, and the task finds the answers sound."""
    serving = Serving(name, model(name))
    serving.warm([1, 2, 4])
    assert serving.loaded.details["dtype"] == "float32"


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_a_batch_changes_no_answer(name: str, static: bool, model: Model) -> None:
    """Each of three different requests is answered alike alone, in a batch, and in a batch padded to a bucket."""
    serving = Serving(name, model(name), static_shapes=static)
    alone = [serving.answer(request)[0] for request in REQUESTS[name]]
    for together in (serving.answer(*REQUESTS[name]), serving.answer(*REQUESTS[name], padded_to=4)):
        for one, other in zip(alone, together, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("name", ALL)
def test_static_shapes_change_no_answer(name: str, model: Model) -> None:
    """Padding a prompt to its bucket gives what the unpadded prompt gives."""
    dynamic, static = Serving(name, model(name)), Serving(name, model(name), static_shapes=True)
    for request in REQUESTS[name]:
        assert_same(dynamic.answer(request)[0], static.answer(request)[0])


@pytest.mark.parametrize("name", ALL)
def test_different_requests_get_different_answers(name: str, model: Model) -> None:
    """The requests of these tests tell a mixed-up batch from a right one."""
    answers = Serving(name, model(name)).answer(*REQUESTS[name])
    assert len({str(answer) for answer in answers}) == len(answers)


def test_bert_answers_as_transformers_does(model: Model) -> None:
    """The scores are those of transformers' own pipeline on the unpadded text."""
    from transformers import pipeline

    theirs = pipeline("text-classification", str(model("bert")), top_k=None, device="cpu")
    serving = Serving("bert", model("bert"))
    for request in REQUESTS["bert"]:
        expected = {each["label"]: each["score"] for each in theirs([request["prompt"]])[0]}
        answer = serving.answer(request)[0]
        assert answer.scores == pytest.approx(expected, abs=1e-5)
        assert answer.response == max(expected, key=lambda label: expected[label])


def test_vit_answers_as_transformers_does(model: Model) -> None:
    """The scores are those of the model on what its image processor makes of the picture."""
    import torch
    from transformers import ViTForImageClassification

    serving = Serving("vit", model("vit"))
    theirs = ViTForImageClassification.from_pretrained(model("vit"))
    for request in REQUESTS["vit"]:
        scaled = serving.task.processor(images=pixels(request["image"]).astype(np.uint8), return_tensors="pt")
        with torch.inference_mode():
            expected = theirs(**scaled).logits.softmax(-1)[0].tolist()
        assert sorted(serving.answer(request)[0].scores.values()) == pytest.approx(sorted(expected), abs=1e-5)


def test_yolos_boxes_are_those_of_transformers_in_the_pixels_of_the_picture(model: Model) -> None:
    """Labels, scores and corners are what transformers' own post-processing makes of the same outputs."""
    import torch
    from transformers import YolosForObjectDetection

    serving = Serving("yolos", model("yolos"))
    theirs = YolosForObjectDetection.from_pretrained(model("yolos"))
    for request in REQUESTS["yolos"]:
        picture = pixels(request["image"]).astype(np.uint8)
        with torch.inference_mode():
            outputs = theirs(**serving.task.processor(images=picture, return_tensors="pt"))
        found = serving.task.processor.post_process_object_detection(outputs, threshold=0, target_sizes=[picture.shape[:2]])[0]
        answer = serving.answer(request)[0]
        assert [each.score for each in answer.response] == pytest.approx(sorted(found["scores"].tolist(), reverse=True), abs=1e-5)
        height, width = picture.shape[:2]
        for each in answer.response:
            near = (found["scores"] - each.score).abs().argmin()
            corners = found["boxes"][near].clamp(min=0).minimum(torch.tensor([width, height, width, height]))
            assert list(each.box.model_dump().values()) == pytest.approx(corners.tolist(), abs=0.05)
        assert (answer.width, answer.height) == (width, height)


def test_a_threshold_leaves_out_what_is_not_sure(model: Model) -> None:
    """No object below the threshold is named, and all above it are, the surest first."""
    serving = Serving("yolos", model("yolos"))
    request = REQUESTS["yolos"][0]
    everything = serving.answer(request)[0].response
    limit = everything[3].score
    some = serving.answer({**request, "threshold": limit})[0].response
    assert some == everything[: len(some)]
    assert len(some) >= 4
    assert all(each.score >= limit for each in some)


def test_a_picture_is_that_of_diffusers(model: Model) -> None:
    """The picture is what diffusers' pipeline draws from the same seed."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(model("sd")), safety_checker=None)
    expected = pipe(
        "a cat", num_inference_steps=3, guidance_scale=7.5, generator=torch.Generator().manual_seed(1), output_type="np"
    ).images[0]
    answer = Serving("sd", model("sd")).answer(REQUESTS["sd"][0])[0]
    assert abs(pixels(answer.response) - (expected * 255).round()).max() <= 1


def test_seeds_repeat_and_differ(model: Model) -> None:
    """The same seed gives the same answer and another seed another; without one the answer says which seed repeats it."""
    serving = Serving("sd", model("sd"))
    request = {"prompt": "a cat", "steps": 2}
    first, again, other = (serving.answer({**request, "seed": seed})[0] for seed in (1, 1, 2))
    assert first.response == again.response != other.response
    free = serving.answer(request)[0]
    assert serving.answer({**request, "seed": free.seed})[0].response == free.response


@pytest.mark.parametrize("name", ["bert", "vit", "yolos", "sd"])
def test_bfloat16_runs(name: str, model: Model) -> None:
    """The weights' type is a setting."""
    serving = Serving(name, model(name), dtype="bfloat16")
    serving.warm([2])
    assert serving.loaded.details["dtype"] == "bfloat16"
