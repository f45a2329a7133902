"""Every situation, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.situations.people import ACTED
from tests.situations.returns import RETURNS
from tests.situations.shortages import SHORTAGES

SITUATIONS: Final = (*SHORTAGES, *RETURNS, *ACTED)
