"""A figure: what was measured, beside what the machine could do and what was aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.machine import Load, Machine


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine allows at best, measured in the same run, in the unit of the figure."""

    name: str
    value: float


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the two is set."""

    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None, "an aim without a bound"
        return value <= self.at_most

    def __str__(self) -> str:
        return f"≥ {number(self.at_least)}" if self.at_least is not None else f"≤ {number(self.at_most or 0)}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """`samples` has one value for each repetition."""

    name: str
    what: str
    unit: str
    samples: tuple[float, ...]
    lower_is_better: bool = False
    ceiling: Ceiling | None = None
    aim: Aim | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def fraction(self) -> float | None:
        """How near it is to the ceiling: 1 is all that the machine allows."""
        if self.ceiling is None or not self.median or not self.ceiling.value:
            return None
        return self.ceiling.value / self.median if self.lower_is_better else self.median / self.ceiling.value


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `quick` runs are too small for their figures to mean anything."""

    started_at: str
    machine: Machine
    load: Load
    quick: bool
    figures: tuple[Figure, ...]


def number(value: float) -> str:
    """With as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(report: Report) -> str:
    """Markdown."""
    machine = report.machine
    lines = [
        f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB, {machine.system}, "
        f"Python {machine.python}; load {report.load.before:.2f} before, {report.load.after:.2f} after.",
        "",
        "| figure | median | spread | of the machine's | aim |",
        "|---|---:|---:|---|---|",
    ]
    lines += [_row(figure, quick=report.quick) for figure in report.figures]
    if report.quick:
        lines += ["", "A quick run: it shows that the measurements work, and nothing else."]
    elif report.load.warning:
        lines += ["", f"Careful: {report.load.warning}."]
    return "\n".join(lines)


def _row(figure: Figure, *, quick: bool) -> str:
    ceiling, fraction = figure.ceiling, figure.fraction
    of = ""
    if ceiling is not None and fraction is not None:
        of = f"{fraction:.0%} of {number(ceiling.value)} ({ceiling.name})"
    aim = ""
    if figure.aim is not None:
        verdict = "" if quick else (", met" if figure.aim.is_met(figure.median) else ", **missed**")
        aim = f"{figure.aim}{verdict}"
    spread = _spread(figure.samples)
    return f"| {figure.what} | {number(figure.median)} {figure.unit} | {spread} | {of} | {aim} |"


def _spread(samples: Sequence[float]) -> str:
    return "" if len(samples) < 2 else f"{number(min(samples))} – {number(max(samples))}"


def write_json(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
