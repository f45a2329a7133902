"""``python -m tests.fuzz --seconds 60``: runs every target for that long, and fails where one raised what it may not."""

from __future__ import annotations

import sys

from tests.fuzz.targets import TARGETS
from tools.fuzzing import main

if __name__ == "__main__":
    sys.exit(main(TARGETS))
