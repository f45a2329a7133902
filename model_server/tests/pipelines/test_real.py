"""Real answers: what a model knows arrives at the client, through the task and the backend that production uses.

The other tests show that random weights give the results of their library; a mistake in both, or in the arguments, shows only here.
"""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.pipelines import models, trained
from tests.pipelines.serving import Serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

HELD_OUT = {
    "The actors were brilliant and the ending made me cry with joy.": "POSITIVE",
    "An amazing hotel with a lovely view.": "POSITIVE",
    "My children adore this game.": "POSITIVE",
    "The soup tasted great.": "POSITIVE",
    "Thank you, this helped me a lot!": "POSITIVE",
    "The plot makes no sense and the jokes fall flat.": "NEGATIVE",
    "I want my money back.": "NEGATIVE",
    "The battery dies after an hour, avoid it.": "NEGATIVE",
    "A noisy hotel with broken showers.": "NEGATIVE",
    "Hamilton is overrated and tedious.": "NEGATIVE",
}
"""Sentences that are not among those trained on, and what a reader says of them."""

SIZES = [(96, 64), (64, 96), (50, 50), (200, 60), (60, 200), (640, 480), (41, 173), (1024, 333)]
"""Widths and heights of pictures."""


def png(image: Image.Image) -> str:
    """A picture in base64."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_fine_tuned_bert_tells_good_from_bad(tmp_path: Path) -> None:
    """Ten sentences that it was not trained on, in one batch, are judged as a reader judges them."""
    trained.sentiment(tmp_path / "bert")
    answers = Serving("bert", tmp_path / "bert").answer(*({"prompt": text} for text in HELD_OUT), padded_to=16)
    said = {text: answer.response for text, answer in zip(HELD_OUT, answers, strict=True)}
    right = sum(said[text] == label for text, label in HELD_OUT.items())
    print(f"{right} of {len(HELD_OUT)} right; the least sure at {min(max(answer.scores.values()) for answer in answers):.2f}")
    assert said == HELD_OUT


def test_a_trained_vit_reads_digits(tmp_path: Path) -> None:
    """More than seven of ten digits that it was not trained on are read rightly; guessing reads one of ten."""
    pictures, labels = trained.digits()
    known = len(labels) * 3 // 4
    trained.digit_reader(tmp_path / "vit", pictures[:known], labels[:known])
    serving = Serving("vit", tmp_path / "vit")
    requests = [{"image": png(picture)} for picture in pictures[known:]]
    answers = [answer for start in range(0, len(requests), 32) for answer in serving.answer(*requests[start : start + 32])]
    right = sum(answer.response == str(label) for answer, label in zip(answers, labels[known:], strict=True))
    print(f"{right} of {len(requests)} held-out digits read rightly: {right / len(requests):.1%}")
    assert right / len(requests) > 0.7


def test_yolos_boxes_are_in_the_pixels_of_pictures_of_all_sizes(tmp_path: Path) -> None:
    """Pictures of eight sizes share a batch; each gets one box a query, at the known fractions of its own width and height."""
    x, y, w, h = box = (0.375, 0.6, 0.25, 0.5)
    trained.fixed_box(tmp_path / "yolos", box)
    requests = [{"image": png(Image.effect_noise(size, 60)), "threshold": 0.5} for size in SIZES]
    for (width, height), answer in zip(SIZES, Serving("yolos", tmp_path / "yolos").answer(*requests), strict=True):
        assert (answer.width, answer.height) == (width, height)
        assert len(answer.response) == models.QUERIES
        corners = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        for each in answer.response:
            assert each.label == "thing_1"
            assert list(each.box.model_dump().values()) == pytest.approx(corners, abs=0.01)
