"""Demand in scenario files: a wave, a line through points, or a trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from controller.catalog.fields import FileModel, yaml_key
from controller.documents import cross_field_error
from controller.errors import ConfigError
from failover_testbed.traffic.csv_rows import read_lines

_LONGEST_S: Final = 366 * 86_400

Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
Requests = Annotated[float, Field(ge=0, le=1e9)]


class Choice(FileModel):
    """A mapping with exactly one of several keys."""

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
    """The demand at one moment; it is interpolated linearly between points."""

    at_s: Seconds = Field(description="When.")
    requests: Requests = Field(description="Requests per metric period.")


class Wave(FileModel):
    """A cosine wave."""

    base: Requests = Field(description="Lowest demand, requests per metric period.")
    peak: Requests = Field(description="Highest demand, requests per metric period.")
    period_s: float = Field(gt=0, le=_LONGEST_S, description="Time from one peak to the next.")
    peak_at_s: Seconds = Field(default=0, description="Time of the first peak.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.base > self.peak:
            raise cross_field_error([(("base",), f"{self.base:g}", f"at most peak ({self.peak:g})")])
        return self


class Demand(Choice):
    """Demand: a wave or a line through points."""

    wave: Wave | None = Field(default=None, description="A cosine wave.")
    points: tuple[Point, ...] | None = Field(default=None, min_length=1, max_length=1000, description="A line through points, in order.")

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("wave", "points")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        times = [point.at_s for point in self.points or ()]
        if times != sorted(set(times)):
            raise cross_field_error([(("points",), "times that do not increase", "each later than the one before")])
        return self

    def at(self, seconds: float) -> float:
        """Requests per metric period.

        Args:
            seconds: Time since the scenario began, on its clock.
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
    """Request counts from the last column of a CSV file, one line for each step. At its end it starts again."""

    file: str = Field(min_length=1, max_length=1000, description="The file, relative to the scenario.")
    step_s: float = Field(ge=0.001, le=_LONGEST_S, description="Seconds for each line.")
    peak: Requests = Field(description="Requests per metric period at the largest count; scales the trace.")

    def curve(self, folder: Path) -> Callable[[float], float]:
        """Requests per metric period as a function of seconds since the start; interpolated linearly.

        Args:
            folder: The folder to which `file` is relative.

        Raises:
            ConfigError: The file cannot be read, a line has no count, or none is above 0.
        """
        path = folder / self.file
        lines = read_lines(path)
        counts = [line.count(-1, "count") for line in lines[1 if lines and lines[0].is_text(-1) else 0 :]]
        most = max(counts, default=0.0)
        if most <= 0:
            raise ConfigError(f"{path}: found no count above 0 in its last column")
        scaled = [count / most * self.peak for count in counts]

        def at(seconds: float) -> float:
            place, part = divmod(seconds / self.step_s, 1.0)
            left = scaled[int(place) % len(scaled)]
            return left + (scaled[(int(place) + 1) % len(scaled)] - left) * part

        return at


class TracedDemand(Demand):
    """Demand: a wave, a line through points, or a trace."""

    trace: Trace | None = Field(default=None, description="Request counts from a file.")

    @classmethod
    def _keys(cls) -> tuple[str, ...]:
        return ("wave", "points", "trace")
