"""A task and a backend put together as the server does, without the server: prepare, batch, pad, run, finish."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failover_model_server import registry
from failover_model_server.backends.base import Loaded
from failover_model_server.run import Run
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Item
from PIL import Image

from tests.pipelines.models import TASKS


class Serving:
    """A loaded task and backend."""

    def __init__(self, name: str, directory: Path, backend: str = "cpu", **settings: Any) -> None:
        self.settings = Settings(task=TASKS[name], backend=backend, model=str(directory), **settings)
        self.task: Any = registry.task(self.settings.task)(self.settings)
        self.task.load(directory)
        self.backend = registry.backend(backend)(self.settings)
        self.loaded: Loaded = self.backend.load(directory, self.task)

    def prepare(self, requests: Sequence[dict[str, Any]]) -> list[Item]:
        """Items of requests."""
        return [self.task.prepare(self.task.request(**request)) for request in requests]

    def answer(self, *requests: dict[str, Any], padded_to: int | None = None) -> list[Any]:
        """Responses to requests that share a batch, which is padded with its last item."""
        items = self.prepare(requests)
        assert len({item.key for item in items}) == 1, "these requests do not share a batch"
        filled = items + [items[-1]] * ((padded_to or len(items)) - len(items))
        outputs = self.backend.run(filled, Run(len(filled), len(filled)))
        assert len(outputs) == len(filled)
        return [
            self.task.finish(self.task.request(**request), item, output)
            for request, item, output in zip(requests, items, outputs[: len(items)], strict=True)
        ]

    def warm(self, sizes: Sequence[int]) -> None:
        """Run and check every synthetic request at every batch size, as in WARMING."""
        for request in self.task.warm_requests():
            item = self.task.prepare(request)
            for size in sizes:
                for output in self.backend.run([item] * size, Run(size, size)):
                    self.task.check(self.task.finish(request, item, output))
        self.backend.warmed()


def picture(colour: str, size: tuple[int, int] = (80, 60)) -> str:
    """A picture in base64: a gradient in a colour, so that each differs."""
    image = Image.merge(
        "RGB", [Image.linear_gradient("L").point(lambda v, k=k: v * k // 255) for k in Image.new("RGB", (1, 1), colour).getpixel((0, 0))]
    )
    buffer = io.BytesIO()
    image.resize(size).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pixels(png: str) -> Any:
    """The pixels of a picture in base64, as an int array."""
    import numpy as np

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), dtype=np.int64)


REQUESTS: dict[str, list[dict[str, Any]]] = {
    "bert": [{"prompt": "the film was great"}, {"prompt": "bad"}, {"prompt": "the film was not very good , the film is bad !"}],
    "vit": [{"image": picture("red")}, {"image": picture("blue", (33, 90))}, {"image": picture("yellow", (300, 20))}],
    "yolos": [
        {"image": picture("red"), "threshold": 0},
        {"image": picture("blue", (33, 90)), "threshold": 0},
        {"image": picture("yellow", (300, 20)), "threshold": 0},
    ],
    "sd": [
        {"prompt": "a cat", "steps": 3, "seed": 1},
        {"prompt": "a dog", "negative_prompt": "a cat", "steps": 3, "seed": 2},
        {"prompt": "a long and windy road by the sea", "steps": 3, "seed": 3},
    ],
}
"""Three different requests for each model that share a batch."""
