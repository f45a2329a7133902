"""How much there is to serve: a wave or a line through points, as scenario files write it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from controller.catalog.fields import FileModel, yaml_key
from controller.documents import cross_field_error
from controller.errors import ConfigError

_LONGEST_S: Final = 366 * 86_400
_MOST_BYTES: Final = 64 * 2**20

Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
Requests = Annotated[float, Field(ge=0, le=1e9)]


class Choice(FileModel):
    """A mapping in which exactly one of some keys stands."""

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        raise NotImplementedError

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [key for key in self._keys() if getattr(self, key) is not None]
        if len(given) != 1:
            shown = ", ".join(map(yaml_key, given)) or "none of them"
            raise cross_field_error([((), shown, f"exactly one of {', '.join(map(yaml_key, self._keys()))}")])
        return self


class Point(FileModel):
    """The demand at one moment; between two points it changes evenly."""

    at_s: Seconds = Field(description="When.")
    requests: Requests = Field(description="Requests per metric period.")


class Wave(FileModel):
    """A cosine wave."""

    base: Requests = Field(description="Lowest demand, requests per metric period.")
    peak: Requests = Field(description="Highest demand, requests per metric period.")
    period_s: float = Field(gt=0, le=_LONGEST_S, description="From one peak to the next.")
    peak_at_s: Seconds = Field(default=0, description="When the first peak is.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.base > self.peak:
            raise cross_field_error([(("base",), f"{self.base:g}", f"at most peak ({self.peak:g})")])
        return self


class Demand(Choice):
    """How much there is to serve."""

    wave: Wave | None = Field(default=None, description="A cosine wave.")
    points: tuple[Point, ...] | None = Field(default=None, min_length=1, max_length=1000, description="A line through points, in order.")

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("wave", "points")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        times = [point.at_s for point in self.points or ()]
        if times != sorted(set(times)):
            raise cross_field_error([(("points",), "times that do not grow", "each later than the one before")])
        return self

    def at(self, seconds: float) -> float:
        """Requests per metric period.

        Args:
            seconds: Of the scenario's clock since its start.
        """
        if self.wave is not None:
            wave = self.wave
            phase = 2 * math.pi * (seconds - wave.peak_at_s) / wave.period_s
            return wave.base + (wave.peak - wave.base) * (1 + math.cos(phase)) / 2
        points = self.points or ()
        before = [point for point in points if point.at_s <= seconds]
        after = [point for point in points if point.at_s > seconds]
        if not before or not after:
            return (before or after)[-1 if before else 0].requests
        left, right = before[-1], after[0]
        return left.requests + (right.requests - left.requests) * (seconds - left.at_s) / (right.at_s - left.at_s)


class Trace(FileModel):
    """Counted requests of a CSV file; its last column counts, one step a line. Over its end it begins anew."""

    file: str = Field(min_length=1, max_length=1000, description="The file, relative to the scenario.")
    step_s: float = Field(gt=0, le=_LONGEST_S, description="Seconds of one line.")
    peak: Requests = Field(description="Requests per metric period at the largest count: the trace is scaled to it.")

    def curve(self, folder: Path) -> Callable[[float], float]:
        """Requests per metric period by seconds since the start; between two lines it changes evenly.

        Args:
            folder: What `file` is relative to.

        Raises:
            ConfigError: It cannot be read, or counts nothing.
        """
        path = folder / self.file
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes")
            with path.open(newline="") as file:
                counts = [float(row[-1]) for row in csv.reader(file) if row and _counts(row[-1])]
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        most = max(counts, default=0.0)
        if most <= 0:
            raise ConfigError(f"{path}: found no count above 0 in its last column")
        scaled = [count / most * self.peak for count in counts]

        def at(seconds: float) -> float:
            place, part = divmod(seconds / self.step_s, 1.0)
            left = scaled[int(place) % len(scaled)]
            return left + (scaled[(int(place) + 1) % len(scaled)] - left) * part

        return at


def _counts(text: str) -> bool:
    """Whether a cell is a count; the head of a column is not."""
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False


class TracedDemand(Demand):
    """How much there is to serve, a trace included."""

    trace: Trace | None = Field(default=None, description="Counted requests of a file.")

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("wave", "points", "trace")
