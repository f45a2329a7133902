"""Which NeuronCores this process may use, without importing what drives them."""

import os
import re
from pathlib import Path

DEVICES = Path("/dev")
CORES_OF_A_DEVICE = 2
"""NeuronCores of one device (/dev/neuronN) of Inf2 and Trn1."""


def visible_cores() -> tuple[int, ...]:
    """Their numbers: those of NEURON_RT_VISIBLE_CORES ("0", "0-3", "0,2"), as device plugins set it, else all of the machine's."""
    visible = os.environ.get("NEURON_RT_VISIBLE_CORES")
    if visible:
        spans = [part.strip().partition("-") for part in visible.split(",")]
        numbers = (
            range(int(first), int(last or first) + 1) for first, _, last in spans if first.isdigit() and (last.isdigit() or not last)
        )
        return tuple(number for span in numbers for number in span)
    devices = sum(1 for path in DEVICES.glob("neuron*") if re.fullmatch(r"neuron\d+", path.name))
    return tuple(range(CORES_OF_A_DEVICE * devices))
