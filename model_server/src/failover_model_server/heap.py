"""How glibc's malloc treats the tensors of passes over texts of all lengths.

By default it maps a block of its own for a large allocation only until one as large was freed: from then on, up to 32 MiB, such blocks come
from the heap. The rows of packed texts are of another length in every pass, so the heap is soon in pieces.
"""

import ctypes
import os
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""Parameters of mallopt(3), as in glibc's malloc.h."""
MAPPED_BYTES: Final = 2 << 20
"""From this size on a block is mapped, and goes back to the system once it is freed. With MiniLM on texts of 6 to 200 tokens and 32 clients
a server took 605 to 668 MiB in four runs, and 708 and 732 without in two of them; it answered as many texts. With 2.5 MiB it took 654, with
3.5 or 4 about 690."""
KEPT_BYTES: Final = 16 << 20
"""How much that is free at the heap's end is kept. It needs a value: setting one of the two ends glibc's own choice of both."""
CHOSEN: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables of the environment by which a person has chosen."""


def limit_heap() -> bool:
    """Map large blocks for good, unless a person has chosen something.

    Returns:
        Whether it was done: other C libraries have no such parameter.
    """
    if any(name in os.environ for name in CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
