"""How many of oneDNN's kernels are kept.

It makes a kernel for each shape, in a third of a millisecond, and keeps a thousand of them, half a megabyte each. The rows of packed texts
are of another length in every pass, so that nearly all of these would never run again.
"""

import os
from typing import Final

VARIABLES: Final = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Read once, by oneDNN and by what torch has in front of it; a value that a person has set stays."""
KEPT: Final = "16"
"""A layer of a transformer has four shapes. After 150 passes of MiniLM's layers over rows of other lengths a process had grown by 35 MiB;
by 83 with 64, and by 230 with the thousand. The passes took as long with either."""


def limit_kernels() -> None:
    """Keep few, also in processes that this one starts. Before torch is imported."""
    for name in VARIABLES:
        os.environ.setdefault(name, KEPT)
