"""Runs that are read from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases import Case, load_case
from amm_opt.errors import InputError, as_path
from amm_opt.fields import is_whole
from amm_opt.margins import Margin, as_margin
from amm_opt.program import Audit
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns import EVERYWHERE, in_order
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.stored.digest import opened
from amm_opt.simulation.stored.disk import DiskStore
from amm_opt.simulation.stored.folder import DOCUMENT, MANIFEST, STORED_CASE, checked_document
from amm_opt.simulation.stored.record import Recorded, StoredState


def open_run(folder: str | Path) -> Run:
    """Read a run that was written into a folder; its arrays are read when they are looked at.

    Its mechanism is known by its label only, and its state by its arrays. ``simulate(..., state=run)`` goes on from it.

    Raises:
        InputError: where the folder holds no run or an unfinished one, a file of it was changed, damaged, lost or added
            (``run.json`` holds the digests of all), or the case is not the one that was run any more.
    """
    return _opened(as_path(folder, "folder of a run"), {})


def open_runs(folders: Mapping[str, Path]) -> dict[str, Run]:
    """Read several runs, by label; a case that is that of several of them is read once.

    Raises:
        InputError: as :func:`open_run`.
    """
    cases: dict[str, Case] = {}
    return {label: _opened(folder, cases) for label, folder in folders.items()}


def _opened(path: Path, cases: dict[str, Case]) -> Run:
    """A run; its case is one of the known ones where it is the same to the digest, and known from then on."""
    document = checked_document(path)
    try:
        key = json.dumps(document["case"], sort_keys=True)
        case = cases[key] = cases[key] if key in cases else _stored_case(path, document["case"])
        first, steps = document["first"], document["steps"]
        if not (is_whole(first) and is_whole(steps) and 0 <= first < first + steps <= case.n_steps):
            raise InputError(f"{path / DOCUMENT}: {steps!r} intervals from {first!r} are not inside the case")
        return _run(path, case, document)
    except InputError:
        raise
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path / DOCUMENT} is damaged: {type(error).__name__}: {error}") from error


load_run = open_run
"""The earlier name, which scripts outside the project use."""


def _run(path: Path, case: Case, document: dict[str, Any]) -> Run:
    first, steps, audit = document["first"], document["steps"], document["audit"]
    manifest = opened(path / MANIFEST)
    span = (str(case.times[first]), str(case.times[first + steps - 1]))
    if span != tuple(manifest["inputs"][f"{which} interval"] for which in ("first", "last")):
        raise InputError(f"{path / DOCUMENT} does not have the intervals of the run")
    store = DiskStore(path, case, first, first + steps, document["block"])
    departed: list[Backlog] = []
    last: BlockResult | None = None
    for last in store.load(document["mechanism"], StoredState, check=False):
        departed += last.departed
    assert last is not None
    waits = last.backlog is not None
    return Run(
        case=case,
        mechanism=Recorded(document["mechanism"], document["throughput_bound"], document.get("without_memory")),
        network=document["network"],
        solver=document["solver"],
        times=case.times[first : first + steps],
        first=first,
        state=last.state,
        summary=_stored_summary(document),
        failed_steps={int(k): reason for k, reason in document["failed_steps"].items()},
        fallback_reasons={int(k): reason for k, reason in document["fallback_steps"].items()},
        audit=None if audit is None else Audit(**audit),
        store=store,
        repaired_steps=tuple(document["repaired_steps"]),
        inexact_steps=tuple(document["inexact_steps"]),
        gap=None if document["gap"] is None else np.array(document["gap"], dtype=float),
        unavoidable=tuple(document["unavoidable"]),
        backlog=last.backlog,
        departed=Backlog.joined(departed) if waits else None,
        waits=waits,
        columns=tuple(Column(**about) for about in document["columns"]),
        tiers=document["tiers"],
        margin=_stored_margin(manifest["inputs"].get("margin")),
        claim=Claim.stored(claim) if (claim := document.get("claim")) else None,
        manifest={k: v for k, v in manifest.items() if k not in ("format", "digest")},
    )


def _stored_margin(text: str | None) -> Margin | str | None:
    """The margin of a run; its text where it was made of arrays."""
    try:
        return as_margin(text)
    except InputError:
        return text


def _stored_summary(document: dict[str, Any]) -> pd.Series[float]:
    """The summary; columns that every run has are NaN where an earlier version did not compute them."""
    values = {**dict.fromkeys((column.name for column in EVERYWHERE), np.nan), **document["summary"]}
    ordered = {name: values[name] for name in in_order(values)}
    return pd.Series(ordered, name=document["mechanism"], dtype=float)


def _stored_case(folder: Path, stored: dict[str, Any]) -> Case:
    source = stored["source"]
    case = load_case(folder / STORED_CASE if source == STORED_CASE else source)
    scales = {name: value for name, value in stored["scenario"].items() if name != "description"}
    case = case.with_scenario(**scales)
    if case.fingerprint != stored["fingerprint"]:
        raise InputError(f"{folder}: case {stored['name']!r} from {source} is not the one that was run any more")
    return case
