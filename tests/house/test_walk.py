"""One event's way through the controller stays short enough to be read."""

from __future__ import annotations

from tools.walk import walk

MOST = 46


def test_a_refusal_reaches_the_patch_in_few_functions_and_never_passes_the_wiring() -> None:
    """The wiring puts parts together. Of its functions the event meets the loop alone, which it wakes."""
    steps = walk().steps
    names = [name for _, name in steps]
    assert (names[0], names[-1]) == ("Watch._follow", "KubeSession.request")
    assert {"KarpenterView.event", "decide", "plan", "Executor.execute"} <= set(names)
    assert len(steps) <= MOST
    assert [name for path, name in steps if path.endswith("/wiring.py")] == ["Service._loop"]
