"""Linear layers on a processor with weights as oneDNN's kernels read them.

torch multiplies matrices of float32 with MKL. oneDNN with weights laid out for it once takes a tenth less time for a row of
hundreds of tokens, and half for eight (docs/decisions/0031-encoders-on-a-processor.md). torch.compile calls these operators for
a frozen model. They have no public name, so that they are tried before they are used.
"""

from collections import Counter
from typing import Any

import torch

from failover_model_server.errors import cut

TRIED = (5, 48, 33)
"""Rows, inputs and outputs of the layer that they are tried on."""
TOLERANCE = 1e-4
"""Largest difference of its outputs, which are about 1: many times what the order of additions makes, and far less than a mistake would."""


class Prepacked(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A linear layer whose weights are laid out for oneDNN; the layer's own are gone with it."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)  # noqa: SLF001 - it has no public name

    @property
    def weight(self) -> torch.Tensor:
        """The weights as they were, in a copy: for models that ask for their type or size."""
        return self._packed.to_dense()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`values @ weight.T + bias`."""
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, self._packed, self.bias, "none", [], "")  # noqa: SLF001
        return made


def prepack(model: torch.nn.Module) -> str:
    """Replace the linear layers of a model on a processor, of float32, by prepacked ones. It must not be trained or compiled afterwards.

    A layer whose weights another module has too, as a decoder's head its embedding's, is left as it is: there would be two copies.

    Returns:
        "" where they work here; else why not, and the model is as it was.
    """
    if reason := _tried():
        return reason
    owners = Counter(tensor.data_ptr() for module in model.modules() for tensor in module.parameters(recurse=False))
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and owners[child.weight.data_ptr()] == 1:
                setattr(parent, name, Prepacked(child))
    return ""


def _tried() -> str:
    """Why a prepacked layer cannot stand for a linear one here; "" where it can."""
    rows, inputs, outputs = TRIED
    linear = torch.nn.Linear(inputs, outputs)
    values: Any = torch.linspace(-3, 3, rows * inputs).reshape(1, rows, inputs)
    try:
        with torch.inference_mode():
            apart = float((Prepacked(linear)(values) - linear(values)).abs().max())
    except (AttributeError, RuntimeError, TypeError) as error:  # an operator that is not there, or takes other arguments
        return cut(f"{type(error).__name__}: {error}")
    return "" if apart <= TOLERANCE else f"the outputs differ by {apart:.1e}"
