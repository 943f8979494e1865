"""The measurements run. What they measure is for whoever reads the figures, on a machine that does nothing else."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import Aim, Ceiling, Figure, number
from bench.measures import MEASURES
from tests.source import ROOT

#: Each row of the table of results, by its first words.
MEASURED = {
    "limits": ("sqlite_rows", "sqlite_commit", "bare_requests"),
    "start": ("start_cold", "start_warm"),
    "rest": ("rest_memory", "rest_cpu", "rest_switches"),
    "in_process": ("in_process_noop", "in_process_three_steps", "in_process_alone"),
    "throughput": ("http_submits", "http_noop", "http_three_steps", "http_three_steps_waited", "loaded_memory"),
    "latency": (
        *("submit_p50_bench_noop", "submit_p99_bench_noop"),
        *("submit_p50_bench_three_steps", "submit_p99_bench_three_steps"),
    ),
    "alone": ("http_alone",),
    "streams": ("sse_deliveries",),
    "resume": ("resume_ready", "resume_first", "resume_last"),
    "pdf": ("pdf_pages", "pdf_child_memory", "pdf_all_memory"),
}
#: What may be nothing at all.
AT_REST = {"rest_cpu", "rest_switches"}


@pytest.mark.timeout(300)
def test_a_quick_run_measures_everything_once(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text("utf-8"))
    samples = {figure["name"]: figure["samples"] for figure in report["figures"]}
    assert tuple(samples) == tuple(name for names in MEASURED.values() for name in names)
    assert {name for name, found in samples.items() if not _means_something(name, found)} == set()
    assert done.stdout.count("\n| ") == len(samples) + 1
    assert "A quick run" in done.stdout


def _means_something(name: str, samples: list[float]) -> bool:
    return len(samples) == 1 and math.isfinite(samples[0]) and (samples[0] > 0 or name in AT_REST)


def test_every_measurement_is_named() -> None:
    assert tuple(MEASURES) == tuple(MEASURED)


def test_a_name_that_nothing_has_is_a_misuse() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 2
    assert "nothing is called 'speed'" in done.stderr


def test_a_figure_is_a_fraction_of_its_ceiling_whichever_way_is_better() -> None:
    rate = Figure(
        name="rate", what="", unit="1/s", samples=(40.0, 50.0, 90.0), ceiling=Ceiling(name="disk", value=200.0)
    )
    time = Figure(
        name="time",
        what="",
        unit="ms",
        samples=(4.0,),
        lower_is_better=True,
        ceiling=Ceiling(name="commits", value=1.0),
    )
    assert (rate.median, rate.fraction, time.fraction) == (50.0, 0.25, 0.25)


def test_an_aim_is_a_bound_on_one_side() -> None:
    assert [Aim(at_least=1000).is_met(value) for value in (999, 1000)] == [False, True]
    assert [Aim(at_most=25).is_met(value) for value in (25, 26)] == [True, False]
    assert (str(Aim(at_least=1000)), str(Aim(at_most=25))) == ("≥ 1,000", "≤ 25.0")


def test_numbers_have_as_many_digits_as_mean_something() -> None:
    assert [number(value) for value in (0.123, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]
