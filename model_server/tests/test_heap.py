"""Large blocks are mapped, unless a person has chosen."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest
from failover_model_server import heap

ALLOCATED = """
import ctypes
from failover_model_server.heap import MAPPED_BYTES, limit_heap

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.mallinfo2.restype = [ctypes.c_void_p], Info
done = limit_heap()
for _ in range(3):
    before = libc.mallinfo2().hblks
    block = libc.malloc(MAPPED_BYTES)
    print(done, libc.mallinfo2().hblks - before)
    libc.free(block)
"""


def _printed(**environment: str) -> list[str]:
    whole = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", ALLOCATED], env=whole, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_large_block_is_mapped_however_often_one_was_freed() -> None:
    """By default only the first is."""
    assert _printed() == ["True 1"] * 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
@pytest.mark.parametrize("name", heap.CHOSEN)
def test_what_a_person_has_chosen_stays(name: str) -> None:
    value = "glibc.malloc.arena_max=4" if name == "GLIBC_TUNABLES" else "1000000"
    assert all(line.startswith("False") for line in _printed(**{name: value}))


def test_another_c_library_has_no_such_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    for name in heap.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    assert not heap.limit_heap()
