"""What a study costs: 64 variants of the scarce week of mv33lv, warm and cold, by one process, by two, and by dask.

    python benchmarks/studies.py                # all of it
    python benchmarks/studies.py --only one     # one, cold, two, dask or killed
    python benchmarks/studies.py --kappas 1     # 16 variants

CPU seconds are those of this process, without the import of the toolkit, but with the loading and the checks of the
study. Walls depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import amm_opt as ao

KAPPA, RHO, SCALE = (0.5, 1.0, 2.0, 4.0), (0.05, 0.1, 0.2, 0.4), (0.9, 1.0, 1.1, 1.2)
WEEK = {"start": "2016-05-02", "steps": 336}


def study() -> ao.Study:
    parameters = {"mechanism.kappa": KAPPA[: CHOSEN.kappas], "mechanism.rho": RHO, "scenario.import_scale": SCALE}
    return ao.Study("mv33lv", "amm:priority=deficit", parameters=parameters, **WEEK)


def timed(run: Callable[[], ao.StudyResult]) -> tuple[ao.StudyResult, float, float]:
    """A study, its CPU seconds in this process, and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def one() -> ao.StudyResult:
    result, cpu, wall = timed(lambda: study().run())
    first = result.table["cpu_s"].groupby(result.table["scenario.import_scale"]).transform("max")
    warm = result.table["cpu_s"][result.table["cpu_s"] < first]
    print(f"one process: {len(result.table)} variants, {cpu:.1f} s of CPU, {wall:.1f} s; warm {warm.mean():.3f} s each")
    return result


def cold(every: int = 5) -> None:
    """Each variant as a run of its own, on a case that was loaded before and on one that is loaded for it."""
    case, loaded, whole = ao.load_case("mv33lv"), [], []
    for variant in study().variants[::every]:
        values = variant.parameters
        spec = f"amm:priority=deficit,kappa={values['mechanism.kappa']},rho={values['mechanism.rho']}"
        steps = slice("2016-05-02", "2016-05-08")
        for base, seconds in ((case, loaded), ("mv33lv", whole)):
            began = time.process_time()
            edited = (ao.load_case(base) if isinstance(base, str) else base).with_scenario(
                import_scale=values["scenario.import_scale"]
            )
            ao.simulate(edited, spec, steps=steps)
            seconds.append(time.process_time() - began)
    print(f"cold: {np.mean(loaded):.3f} s of CPU per variant, {np.mean(whole):.3f} s with the loading of the case")


def workers(count: int) -> tuple[ao.StudyResult, float]:
    """By so many processes: wall seconds from the first finished variant to the last, and from the start."""
    rows: list[float] = []
    result, _, wall = timed(
        lambda: study().run(
            executor="processes", workers=count, progress=lambda done, total, row: rows.append(time.perf_counter())
        )
    )
    going = (rows[-1] - rows[count]) / (len(rows) - 1 - count)
    used = result.table["cpu_s"].sum()
    print(f"{count} processes: {wall:.1f} s, {used:.1f} s of CPU in variants, {going:.3f} s per variant when going")
    return result, going


def two() -> None:
    alone, both = workers(1), workers(2)
    same(alone[0], both[0])
    print(f"two processes are {alone[1] / both[1]:.2f} times as fast as one, tables are the same")


def by_dask() -> None:
    result, _, wall = timed(lambda: study().run(executor="dask", workers=2))
    same(result, study().run())
    print(f"dask, 2 workers: {wall:.1f} s, the table is that of one process")


def killed() -> None:
    """A worker is killed by SIGKILL in the middle: one variant is begun again, nothing else is lost."""
    with TemporaryDirectory() as folder:

        def kill(done: int, total: int, row: object) -> None:
            if done == total // 2:
                os.kill(children()[-1], signal.SIGKILL)

        result = study().run(Path(folder) / "out", executor="processes", workers=2, progress=kill)
    same(result, study().run())
    print(f"killed: {int((result.table['attempts'] > 1).sum())} of {len(result.table)} variants was begun twice,")
    print("the table is that of one process")


def children() -> list[int]:
    """Worker processes of this one (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parts[1]) == os.getpid() and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return sorted(found)


def same(one: ao.StudyResult, other: ao.StudyResult) -> None:
    pd.testing.assert_frame_equal(one.outcomes, other.outcomes, check_exact=True)


CHOSEN = argparse.Namespace(kappas=len(KAPPA), only=None)
PARTS = {"one": one, "cold": cold, "two": two, "dask": by_dask, "killed": killed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--kappas", type=int, default=len(KAPPA), help="so many of the four, each with 16 variants")
    parser.parse_args(namespace=CHOSEN)
    for name, part in PARTS.items():
        if CHOSEN.only in (None, name):
            part()


if __name__ == "__main__":
    main()
