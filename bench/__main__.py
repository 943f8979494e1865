"""The command: `python -m bench [names] [--json FILE] [--quick]`."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, Report, table, write_json
from bench.machine import ROOT, Load, load_now, machine
from bench.measures import MEASURES, QUICK, Sizes, new_run

RESULTS = ROOT / "bench" / "results"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the platform on this machine, beside what the machine itself can do.",
        epilog="Example: ./dev bench throughput latency",
    )
    told = ", ".join(MEASURES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure (default: all of {told})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go (default: bench/results/)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that the measurements work")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in MEASURES]
    if unknown:
        parser.error(f"nothing is called {unknown[0]!r}; there are: {told}")

    started = datetime.now(UTC)
    before = load_now()
    with new_run(QUICK if given.quick else Sizes()) as run:
        figures: list[Figure] = []
        for name in given.names or MEASURES:
            began_s = time.perf_counter()
            print(f"{name} …", end=" ", file=sys.stderr, flush=True)
            figures += MEASURES[name](run)
            print(f"{time.perf_counter() - began_s:.1f} s", file=sys.stderr)
    report = Report(
        started_at=started.isoformat(timespec="seconds"),
        machine=machine(),
        load=Load(before=before, after=load_now()),
        quick=given.quick,
        figures=tuple(figures),
    )
    file = given.json or RESULTS / f"{started:%Y%m%dT%H%M%SZ}{'-quick' if given.quick else ''}.json"
    write_json(report, file)
    print(table(report))
    print(f"figures in {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
