"""What the paper's comparison keeps of each run: its summary and the fairness between feeders by month, as JSON."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import amm_opt as ao
from amm_opt.market.state import served_ratio
from amm_opt.simulation.results.fairness import jain


@dataclass(frozen=True)
class Job:
    """One run: a case, a mechanism, which intervals, and how."""

    case: str
    mechanism: str
    first: int
    stop: int
    fingerprint: str
    network: str | None
    ac: bool


def monthly_jain(run: ao.Run) -> pd.DataFrame:
    """Jain index of the LV feeders' served ratios from the start of the run to the end of each month, per direction."""
    ends = pd.Series(np.arange(len(run.times)), index=run.times).groupby(run.times.strftime("%Y-%m")).last()
    requested, served = run.feeder_energy()
    rows = {}
    for month, k in ends.items():
        ratios = [served_ratio(s[k], r[k])[r[k] > 0] for s, r in zip(served, requested, strict=True)]
        rows[month] = [jain(r) if len(r) > 1 else np.nan for r in ratios]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["import", "export"])


@lru_cache(maxsize=1)
def _loaded(case: str) -> ao.Case:
    return ao.load_case(case)


def measured(job: Job) -> dict[str, Any]:
    """Run it and keep what counts."""
    options: dict[str, Any] = {"network": job.network} if job.network else {}
    if job.ac:
        options["ac"] = "verify"
    done = ao.compare(_loaded(job.case), job.mechanism, steps=slice(job.first, job.stop), **options)
    (run,) = done.runs.values()
    numbers = pd.to_numeric(run.summary, errors="coerce").astype(float)
    return {
        "job": asdict(job),
        "version": ao.__version__,
        "label": next(iter(done.runs)),
        "summary": json.loads(numbers.to_json()),
        "jain_by_month": json.loads(monthly_jain(run).to_json(orient="index")),
    }


def records(jobs: list[Job], keep: Path | None, workers: int) -> list[dict[str, Any]]:
    """A record for every job, from the folder where an earlier call left it, else from a run in its own process."""
    places = [keep / f"{_name(job)}.json" if keep else None for job in jobs]
    found = [_kept(place, job) for place, job in zip(places, jobs, strict=True)]
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        task = bar.add_task("runs", total=len(jobs), completed=sum(record is not None for record in found))
        waiting = {pool.submit(measured, job): k for k, job in enumerate(jobs) if found[k] is None}
        for future in as_completed(waiting):
            k = waiting[future]
            found[k] = record = future.result()
            if (place := places[k]) is not None:
                _write(place, record)
            bar.update(task, advance=1, description=f"{jobs[k].mechanism}: {record['summary']['seconds']:.0f} s")
    return [record for record in found if record is not None]


def _name(job: Job) -> str:
    """A file name that no other job has."""
    digest = hashlib.sha256(json.dumps(asdict(job)).encode()).hexdigest()[:8]
    text = "".join(c if c.isalnum() else "_" for c in f"{Path(job.case).name}_{job.mechanism}")
    return f"{text[:80]}_{digest}"


def _kept(place: Path | None, job: Job) -> dict[str, Any] | None:
    if place is None or not place.is_file():
        return None
    record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    if record["job"] != asdict(job):
        raise click.ClickException(f"{place} is of another job: {record['job']}")
    return record


def _write(place: Path, record: dict[str, Any]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".part")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.replace(place)
