"""What most columns are: energies, pairs and intervals, of a run's totals or of its replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.totals import Totals
from amm_opt.verification.replay import ReplayTotals

Compute = Callable[[Any], float | None]
"""Gives a run's number; None where the column does not apply to it."""


def total(value: Callable[[Totals], float | None]) -> Compute:
    """Of the run's totals, which a run that was read from disk has not."""
    return lambda run: None if run.totals is None else value(run.totals)


def ac(value: Callable[[ReplayTotals], float]) -> Compute:
    """Of the replay by AC power flow, where there was one."""
    return lambda run: None if run.ac is None else value(run.ac)


def count(field: str, applies: Callable[[Totals], bool] = lambda _: True) -> Compute:
    """Of the intervals that a run has marked, where its totals say that there may be any."""
    return lambda run: None if run.totals is None or not applies(run.totals) else len(getattr(run, field))


def energy(name: str, compute: Compute, better: Any, meaning: str, header: str = "") -> Column:
    """An energy in MWh."""
    return Column(name, compute, "MWh", "energy", better, meaning, header)


def pairs(name: str, compute: Compute, meaning: str, header: str = "", better: Any = "lower") -> Column:
    """A number of (element, interval) pairs."""
    return Column(name, compute, "pairs", "count", better, meaning, header)


def intervals(name: str, compute: Compute, meaning: str, header: str = "") -> Column:
    """A number of intervals."""
    return Column(name, compute, "intervals", "count", "lower", meaning, header)


ENERGIES = (("requested_import_mwh", "unserved_mwh"), ("requested_export_mwh", "curtailed_mwh"))
"""Columns of what was asked for and of what was lost of it, by direction."""
