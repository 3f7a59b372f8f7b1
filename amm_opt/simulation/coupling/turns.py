"""A distribution case on a node of a wholesale system: what the system cannot serve is a limit at the feeder's head.

In interval t a feeder alone would draw w at its head, with flexible import x and export y of all its customers. The
system could cut X = min(max(x - y, 0), max(w, 0)) of it: not inflexible load, and not what neighbours give each other.
It is asked for F = w - X as inflexible load and for X as a request, of which it serves s. Where s < X the feeder runs
under one more limit, F + s at its head, by the same rule as under all its other limits: a deficit

    1 - H / U,    H = F + s - inflexible,    U = everything that is requested,

that everybody behind the head inherits unless its own limits are tighter. Without export and other limits this is 1 -
s / X, the share that the system could not serve: scarcity is handed down undiminished. (Ours.)

Who was short before asks for more weight, which can change what a feeder with limits of its own would draw. So system
and feeder run in turns until what is drawn is what was asked for.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Case, as_case
from amm_opt.errors import InputError, counted, unknown
from amm_opt.fields import is_number
from amm_opt.market import Mechanism
from amm_opt.registry import as_mechanism
from amm_opt.simulation.coupling.result import Coupled
from amm_opt.simulation.driver import simulate
from amm_opt.simulation.results.run import Run

SHORT = 1e-5
"""A node is short where it is served less than its request by more than this share of the largest one: the system's
stages let pass less."""
EQUAL = 1e-4
"""Runs in turns end when no interval's draw differs by more than this share of the largest."""
LEAST_KW = 1e-3
"""A limit at the head is at least this: one of nothing would be none."""
IMPORT_LIMIT = "import_limit_kw"


def coupled(
    system: Case | str,
    node: str,
    feeder: Case | str,
    *,
    steps: int | str | slice | None = None,
    system_steps: int | str | slice | None = None,
    count: float = 1.0,
    mechanism: Mechanism[Any] | str = "amm",
    system_mechanism: Mechanism[Any] | str = "dispatch:source_price=none",
    rounds: int = 5,
) -> Coupled:
    """Run a wholesale system and a feeder that hangs on one of its nodes.

    Args:
        system: the case of the system; the feeder is added to what draws power at its nodes.
        node: the bus of the system at which it hangs.
        feeder: a radial case, of whose source one branch leaves, the head.
        steps, system_steps: intervals of the feeder and of the system, as for ``Case.span``; as many of both.
        count: so many feeders of this kind hang there: one that stands for a city.
        mechanism: of the feeder; it clears interval by interval.
        system_mechanism: of the system; it serves what the node asks for, or less.
        rounds: at most so often they run in turns.

    Raises:
        InputError: a node that is none, cases that do not fit each other, a mechanism over a horizon on the feeder.
    """
    system, feeder, item = as_case(system), as_case(feeder), as_mechanism(mechanism)
    span, system_span = feeder.span(steps), system.span(system_steps)
    _check(system, node, feeder, item, span, system_span, count, rounds)
    alone = simulate(feeder, item, steps=slice(*span))
    firm, asked = _wanted(alone)
    for turn in range(1, rounds + 1):
        whole = _with_node(system, node, feeder.name, system_span, count * firm, count * asked)
        run = simulate(whole, system_mechanism, steps=slice(*system_span))
        served = np.minimum(run.allocation.import_kw[:, whole.participant_names.index(feeder.name)] / count, asked)
        short = asked - served > SHORT * asked.max(initial=0.0)
        served = np.where(short, served, asked)
        runs, next_firm, next_asked = _under(feeder, item, span, firm + served, short, alone)
        told = _told(runs, firm, asked, served, short, alone)
        found = Coupled(node, feeder.feeder.branch_names[1], feeder, run, alone, tuple(runs), told, turn)
        if found.gap_kw <= EQUAL * np.abs(told["drawn_kw"]).max():
            break
        firm, asked = next_firm, next_asked
    return found


def _check(
    system: Case,
    node: str,
    feeder: Case,
    mechanism: Mechanism[Any],
    span: tuple[int, int],
    system_span: tuple[int, int],
    count: float,
    rounds: int,
) -> None:
    if node not in system.feeder.bus_index:
        raise unknown("node", node, system.feeder.bus_names)
    said = []
    if feeder.feeder.meshed or np.count_nonzero(feeder.feeder.parent == 0) != 1:
        said.append(f"{feeder.name} must be radial with one branch that leaves its source, which the system can limit")
    if feeder.dt_h != system.dt_h:
        said.append(f"intervals of {feeder.name} take {feeder.dt_h:g} h, those of {system.name} {system.dt_h:g} h")
    (first, stop), (system_first, system_stop) = span, system_span
    if stop - first != system_stop - system_first:
        steps = counted(stop - first, "interval")
        said.append(f"steps are {steps} of {feeder.name}, {system_stop - system_first} of {system.name}")
    if feeder.name in system.participant_names:
        said.append(f"{system.name} already has a participant called {feeder.name!r}")
    if mechanism.horizon != 1:
        said.append(f"{mechanism} looks at several intervals together: a feeder is cleared interval by interval")
    if len(feeder.batteries):
        said.append(f"{feeder.name} has batteries: what they take would have to be asked for as well")
    if not (is_number(count) and count > 0):
        said.append(f"count = {count} must be a positive number")
    if rounds < 1:
        said.append(f"rounds = {rounds}: at least 1 is needed")
    if said:
        raise InputError(said, subject="coupled")


def _wanted(run: Run) -> tuple[FloatArray, FloatArray]:
    """(T,) each: what a feeder draws firmly, and what of its draw a system could cut, kW at its head."""
    net = (run.allocation.import_kw - run.allocation.export_kw).sum(axis=1)
    drawn = run.requests.inflexible_kw.sum(axis=1) - run.case.feeder.injected_kva.real.sum() + net
    flexible = np.minimum(np.maximum(net, 0.0), np.maximum(drawn, 0.0))
    return np.asarray(drawn - flexible), np.asarray(flexible)


def _with_node(
    system: Case, node: str, name: str, span: tuple[int, int], firm_kw: FloatArray, asked_kw: FloatArray
) -> Case:
    """The system with one participant more, which asks for what feeders want."""
    tables = system.tables()
    profiles = {f"{name} {what}": np.zeros(system.n_steps) for what in ("firm", "asked")}
    for profile, kw in zip(profiles.values(), (firm_kw, asked_kw), strict=True):
        profile[slice(*span)] = kw
    largest = float(np.abs(firm_kw).max() + asked_kw.max()) + 1.0
    who = pd.DataFrame({"name": [name], "bus": node, "connection_import_kw": largest, "connection_export_kw": largest})
    series = pd.DataFrame(
        {"participant": name, "quantity": ["inflexible", "import"], "profile": list(profiles), "scale_kw": 1.0}
    )
    return system.with_tables(
        participants=pd.concat([tables["participants"], who], ignore_index=True),
        profiles=tables["profiles"].assign(**profiles),
        series=pd.concat([tables["series"], series], ignore_index=True),
    )


def _under(
    feeder: Case, mechanism: Mechanism[Any], span: tuple[int, int], limit_kw: FloatArray, short: BoolArray, alone: Run
) -> tuple[list[Run], FloatArray, FloatArray]:
    """Runs under limits at the head, and what the feeder would draw without them, as ``_wanted``."""
    if not short.any():
        return [alone], *_wanted(alone)
    runs: list[Run] = []
    wanted: list[tuple[FloatArray, FloatArray]] = []
    for limited, group in groupby(range(len(short)), key=lambda t: t + 1 if short[t] else 0):
        places = list(group)
        steps = slice(span[0] + places[0], span[0] + places[-1] + 1)
        state = runs[-1].state if runs else None
        free = simulate(feeder, mechanism, steps=steps, state=state)
        wanted.append(_wanted(free))
        case = _limited(feeder, max(float(limit_kw[places[0]]), LEAST_KW)) if limited else feeder
        runs.append(simulate(case, mechanism, steps=steps, state=state) if limited else free)
    firm, asked = (np.concatenate(parts) for parts in zip(*wanted, strict=True))
    return runs, firm, asked


def _limited(feeder: Case, limit_kw: float) -> Case:
    """The feeder with a limit of what it draws at its head."""
    scenario, head = feeder.scenario, feeder.feeder.branch_names[1]
    own = scenario.mv_capacity_scale if feeder.feeder.tier[1] == "MV" else scenario.lv_capacity_scale
    given = {**scenario.limits.get(head, {}), IMPORT_LIMIT: limit_kw / (scenario.capacity_scale * own)}
    return feeder.with_scenario(limits={**scenario.limits, head: given})


def _told(
    runs: list[Run], firm: FloatArray, asked: FloatArray, served: FloatArray, short: BoolArray, alone: Run
) -> pd.DataFrame:
    """See ``Coupled.table``."""
    drawn = [sum(_wanted(run)) for run in runs]
    prices = [_mean_price(run) for run in runs]
    return pd.DataFrame(
        {
            "time": alone.times,
            "firm_kw": firm,
            "asked_kw": asked,
            "served_kw": served,
            "deficit": 1.0 - np.divide(served, asked, out=np.ones_like(asked), where=asked > 0),
            "short": short,
            "drawn_kw": np.concatenate(drawn),
            "mean_import_price": np.concatenate(prices),
            "mean_import_price_alone": _mean_price(alone),
        }
    )


def _mean_price(run: Run) -> FloatArray:
    prices = run.allocation.import_price
    return np.full(len(run.times), np.nan) if prices is None else np.asarray(prices.mean(axis=1))
