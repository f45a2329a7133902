"""Owns the control plane's processes, so that they end with the test run, however that ends.

It is a separate process in a separate session, so a Ctrl-C or a kill of the test run does not reach it. When the test run is gone, the
kernel closes its standard input; it then kills the processes it started and removes the folder.

It reads and answers one JSON object per line: ``{"start": NAME, "argv": [...], "log": PATH}``, ``{"signal": NAME, "number": 9}``,
``{"wait": NAME}``, ``{"poll": NAME}``. Answers are ``{"pid": N}`` or ``{"code": N}``; the code is null while the process runs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_STOP_S: Final = 5.0


def _handle(order: dict[str, Any], running: dict[str, subprocess.Popen[bytes]]) -> dict[str, Any]:
    match order:
        case {"start": str(name), "argv": list(argv), "log": str(log)}:
            with Path(log).open("ab") as out:
                running[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            return {"pid": running[name].pid}
        case {"signal": str(name), "number": int(number)}:
            running[name].send_signal(number)
            return {"pid": running[name].pid}
        case {"wait": str(name)}:
            return {"code": running[name].wait(timeout=_STOP_S * 6)}
        case {"poll": str(name)}:
            return {"code": running[name].poll() if name in running else None}
        case _:
            raise ValueError(f"no such order: {order}")


def _end(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in running.values():
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)  # a suspended process would not receive it
            process.kill()
    for process in running.values():
        process.wait(timeout=_STOP_S)


def main(folder: Path) -> None:
    """Carries out orders until the input ends, then cleans up.

    Args:
        folder: Removed at the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for line in sys.stdin:
            try:
                answer = _handle(json.loads(line), running)
            except Exception as error:  # noqa: BLE001 - the answer reports it, and the caller raises it
                answer = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(answer), flush=True)
    finally:
        _end(running)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
