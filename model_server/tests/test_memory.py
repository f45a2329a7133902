"""What a processor's backend frees goes back to the system."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from failover_model_server.backends import cpu
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

class Info(ctypes.Structure):  # of mallinfo2
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc.mallinfo2.restype = Info
if sys.argv[1] == "ours":
    cpu.give_back(cpu.OWN_MAPPING)
libc.free(libc.malloc(5 * cpu.OWN_MAPPING))  # from here on glibc itself would keep what is smaller
before = libc.mallinfo2().hblks
kept = [libc.malloc(size) for size in (cpu.OWN_MAPPING - 65536, cpu.OWN_MAPPING, 3 * cpu.OWN_MAPPING)]
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.parametrize(
    ("who", "environment", "mapped"),
    [("ours", {}, 2), ("glibc", {}, 0), ("ours", {"MALLOC_MMAP_THRESHOLD_": "33554432"}, 0)],
)
@pytest.mark.skipif(not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"), reason="needs glibc")
def test_large_tensors_have_pages_of_their_own(who: str, environment: dict[str, str], mapped: int) -> None:
    """Of three blocks the two of at least that size; glibc itself maps none, having freed a larger one; a setting stays."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, who], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) == mapped
