"""From a classifier's logits to scores by label."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failover_model_server.errors import InferenceFailed, LoadError
from failover_model_server.tasks.loading import from_directory
from failover_model_server.tasks.payloads import Tensors

if TYPE_CHECKING:
    from failover_model_server.tasks.payloads import Array

MULTI_LABEL = "multi_label_classification"


def finite(output: object, *names: str) -> "list[Array]":
    """The named arrays of a pipeline's output for one item.

    Raises:
        InferenceFailed: one of them holds something that is not a number.
    """
    import numpy as np

    if not isinstance(output, Tensors):
        raise TypeError(f"expected Tensors, got {type(output).__name__}")
    arrays = [output.values[name] for name in names]
    if not all(np.isfinite(array).all() for array in arrays):
        raise InferenceFailed("the model's output is not finite")
    return arrays


def softmax(logits: "Array") -> "Array":
    """Along the last axis."""
    import numpy as np

    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return shares


class Labels:
    """The labels of a classifier, from its configuration."""

    def __init__(self, model: Path) -> None:
        """Read them.

        Raises:
            LoadError: there is no configuration.
        """
        from transformers import AutoConfig

        self.config: Any = from_directory("the configuration", AutoConfig, model)
        self.names = {int(number): str(name) for number, name in self.config.id2label.items()}

    def scores(self, output: object, top: int | None = None) -> dict[str, float]:
        """Scores from 0 to 1 by label, the highest first; of the `top` highest.

        Softmax, or the sigmoid of each where the configuration says that several labels may hold at once, or there is one label alone.

        Raises:
            InferenceFailed: a logit is not a number.
        """
        import numpy as np

        (logits,) = finite(output, "logits")
        several = self.config.problem_type == MULTI_LABEL or len(self.names) == 1
        values = 1 / (1 + np.exp(-logits)) if several else softmax(logits)
        order = np.argsort(-values)[:top]
        return {self.names[int(index)]: float(values[index]) for index in order}


def check_scores(scores: Mapping[str, float]) -> None:
    """Check the scores of a synthetic request.

    Raises:
        LoadError: there are none, or one is not from 0 to 1.
    """
    if not scores or not all(math.isfinite(score) and 0 <= score <= 1 for score in scores.values()):
        raise LoadError(f"the model answers a synthetic request with scores that are not from 0 to 1: {dict(scores)}")
