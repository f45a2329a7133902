"""The allowed changes between states."""

from failover_model_server.lifecycle import ALLOWED, State


def test_every_state_can_end() -> None:
    """From every state STOPPED can be reached: nothing is stuck for ever."""
    for start in State:
        seen, todo = {start}, [start]
        while todo:
            for following in ALLOWED[todo.pop()] - seen:
                seen.add(following)
                todo.append(following)
        assert State.STOPPED in seen
