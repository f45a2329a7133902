"""The six pipelines run on the processor, and their answers do not depend on what they share a batch with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failover_model_server.run import Run

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


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_greedy_text_is_that_of_generate(name: str, model: Model) -> None:
    """At temperature 0 the tokens are those of transformers' `generate` in greedy mode, though the checkpoint asks for sampling."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(model(name)), AutoTokenizer.from_pretrained(model(name))
    serving = Serving(name, model(name))
    for prompt in ("abc", "hello there, friend"):
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            expected = theirs.generate(
                inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=9, do_sample=False, temperature=1.0, top_p=1.0
            )
        new = expected[0, inputs["input_ids"].shape[1] :]
        text = tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert serving.answer({"prompt": prompt, "max_new_tokens": 9})[0].response == text


@pytest.mark.parametrize("static", [False, True])
def test_a_text_is_whole_when_it_ends_not_when_its_batch_does(static: bool, model: Model) -> None:
    """At its limit of tokens or where its caller has enough; the batch goes on to the end of the longest, with the same outputs."""
    serving = Serving("llama", model("llama"), static_shapes=static)
    items = serving.prepare([{"prompt": prompt, "max_new_tokens": most} for prompt, most in (("abc", 3), ("the film", 12), ("a", 12))])
    alone: list[Any] = [serving.backend.run([item], Run(1, 1))[0] for item in items]
    found: dict[int, tuple[int, Any]] = {}

    class Stepping(Run):
        def step(self) -> None:
            super().step()
            if self.steps == 5:
                self.enough(2)

    run = Stepping(3, 3, finish=lambda place, output: found.update({place: (run.steps, output)}))
    outputs: list[Any] = list(serving.backend.run(items, run))
    assert found == {0: (3, outputs[0]), 2: (6, outputs[2])}
    assert outputs[:2] == alone[:2]
    assert outputs[2].tokens == alone[2].tokens[:6]
    assert run.steps == 12


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


@pytest.mark.parametrize("name", ["sd", "llama"])
def test_seeds_repeat_and_differ(name: str, model: Model) -> None:
    """The same seed gives the same answer and another seed another; without one the answer says which seed repeats it."""
    serving = Serving(name, model(name))
    request = {"prompt": "a cat", **({"steps": 2} if name == "sd" else {"temperature": 1.0, "max_new_tokens": 8})}
    first, again, other = (serving.answer({**request, "seed": seed})[0] for seed in (1, 1, 2))
    assert first.response == again.response != other.response
    free = serving.answer(request)[0]
    assert serving.answer({**request, "seed": free.seed})[0].response == free.response


@pytest.mark.parametrize("name", ["bert", "llama", "vit", "yolos", "sd"])
def test_bfloat16_runs(name: str, model: Model) -> None:
    """The weights' type is a setting."""
    serving = Serving(name, model(name), dtype="bfloat16")
    serving.warm([2])
    assert serving.loaded.details["dtype"] == "bfloat16"
