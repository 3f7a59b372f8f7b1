"""Derivatives of a run, interval by interval, with the memory of the mechanism carried through time or held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted, unknown
from amm_opt.fields import not_callable, shortened
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.network import NetworkModel
from amm_opt.simulation.loop.matching import matches, programs_of
from amm_opt.simulation.sensitivity.knobs import Knob, knobs
from amm_opt.simulation.sensitivity.sides import Side
from amm_opt.simulation.sensitivity.tangent import Rates, Solved, Tangent, advanced, solved, tangent
from amm_opt.solve.answer import NoAnswerError

CARRIED, HELD = "carried", "held"
MEMORY = (CARRIED, HELD)
KINK = 1e-6
"""At a kink is what can move by less than this share of its value before other limits bind."""
SAME = 1e-4
"""Solved again, an interval is the run's where nobody's service differs by more than this share of request or 1 kW."""
LARGEST = 100_000_000
"""At most so many derivatives are given."""
BLOCK_STEPS = 96
BEFORE = "an earlier interval has none, and its memory is carried"

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Derivatives of what was served in T intervals with respect to P numbers.

    Attributes:
        names: (P,) the numbers, as they were asked for; ``values`` in the run, ``units`` of them.
        times: (T,) starts of the intervals.
        service_kw: (P, T, 2, n) of everyone's service in kW, import and export, per unit; NaN where there is none.
        until_kink: (P, T) by how much the number may move to either side before other limits bind, to first order.
        at_kink: (P, T) where that is nothing: the derivatives to both sides may differ, and this is one of them or NaN.
        reasons: (P, T) why there is a kink or no derivative; empty elsewhere.
        memory: ``carried`` or ``held``.
    """

    names: tuple[str, ...]
    values: FloatArray
    units: tuple[str, ...]
    times: pd.DatetimeIndex
    dt_h: float
    participants: tuple[str, ...]
    service_kw: FloatArray
    until_kink: FloatArray
    at_kink: BoolArray
    reasons: Any
    memory: str

    def __repr__(self) -> str:
        return f"Sensitivity({', '.join(self.names)}; {counted(len(self.times), 'interval')}, memory {self.memory})"

    def intervals(self) -> pd.DataFrame:
        """One row for each number and interval: energy in kWh per unit, ``until_kink``, ``at_kink`` and ``reason``."""
        energy = self.service_kw.sum(axis=3) * self.dt_h
        return pd.DataFrame(
            {
                "parameter": np.repeat(self.names, len(self.times)),
                "time": np.tile(self.times, len(self.names)),
                **{f"{d}_kwh": energy[:, :, i].ravel() for i, d in enumerate(DIRECTIONS)},
                "until_kink": self.until_kink.ravel(),
                "at_kink": self.at_kink.ravel(),
                "reason": self.reasons.ravel(),
            }
        )

    def table(self) -> pd.DataFrame:
        """One row for each number: value, unit, energy in MWh per unit over the intervals that have a derivative, how
        many of these are ``at_kink``, and how many intervals have none (``without``).
        """
        energy = np.nansum(self.service_kw.sum(axis=3), axis=1) * self.dt_h / 1000.0
        missing = np.isnan(self.service_kw).any(axis=(2, 3))
        return pd.DataFrame(
            {
                "parameter": self.names,
                "value": self.values,
                "unit": self.units,
                **{f"{d}_mwh": energy[:, i] for i, d in enumerate(DIRECTIONS)},
                "at_kink": (self.at_kink & ~missing).sum(axis=1),
                "without": missing.sum(axis=1),
            }
        )

    def by_participant(self, name: str) -> pd.DataFrame:
        """Energy of everyone, kWh per unit of one of the numbers, over the intervals that have a derivative.

        Raises:
            InputError: for a name that was not asked for.
        """
        if name not in self.names:
            raise unknown("parameter", name, self.names)
        energy = np.nansum(self.service_kw[self.names.index(name)], axis=0) * self.dt_h
        columns = {f"{d}_kwh": energy[i] for i, d in enumerate(DIRECTIONS)}
        return pd.DataFrame(columns, index=pd.Index(self.participants, name="participant"))


@dataclass(frozen=True, eq=False)
class Past:
    """What a run did: of its intervals from ``first`` on what was served, and which are not its mechanism's own."""

    case: Case
    mechanism: Mechanism[Any]
    network: NetworkModel
    model: Any
    first: int
    allocation: Allocation
    other: dict[int, str]
    inputs: dict[str, Any]

    def problems(self) -> list[str]:
        """Why the whole run has no derivative."""
        given = {name.partition(" (")[0]: value for name, value in self.inputs.items()}
        asked = {
            "a run secured on AC serves less than its mechanism gives": given.get("ac") == "secure",
            "a run on a forecast serves what is left of a plan": given.get("forecast", "perfect") != "perfect",
            "a run on a measurement serves what is left of its limits": bool(given.get("measurement")),
            "a run in which energy could wait does not keep what was asked for in each interval": given.get("waiting"),
            "a run in two tiers has no derivative": given.get("tiers", "joint") != "joint",
            "limits with a margin move with load: of such a run there is no derivative": given.get("margin"),
            "the state of which this run went on is not kept": given.get("state at the start"),
        }
        return [sentence for sentence, holds in asked.items() if holds]


def differentiated(
    past: Past, names: tuple[object, ...], chosen: tuple[int, int], memory: str, report: Report | None
) -> Sensitivity:
    """See ``Run.sensitivity``; ``chosen`` are the first interval and one past the last.

    Raises:
        InputError: for what has no derivative.
    """
    if memory not in MEMORY:
        raise InputError(f"memory = {shortened(memory)}; valid choices: {', '.join(MEMORY)}")
    if problem := not_callable(report, "progress"):
        raise InputError(problem)
    if problems := past.problems():
        raise InputError(problems)
    mechanism = past.mechanism
    dials = knobs(names, past.case, mechanism)
    start, stop = chosen
    shape = (len(dials), stop - start)
    if (numbers := shape[0] * shape[1] * 2 * past.case.n_participants) > LARGEST:
        raise InputError(f"{numbers:,} derivatives are more than {LARGEST:,}: choose fewer intervals (steps=...)")
    work = _Work(past, mechanism, dials, memory)
    service = np.full((*shape, 2, past.case.n_participants), np.nan)
    until, kinks, reasons = np.full(shape, np.nan), np.zeros(shape, dtype=bool), np.full(shape, "", dtype=object)
    for k, found in work.intervals(start, stop, report):
        for p, (knob, one) in enumerate(zip(dials, found, strict=True)):
            at = (p, k - start)
            service[at], until[at], reasons[at] = one.service_kw, one.until_kink, one.problem
            kinks[at] = one.until_kink <= KINK * knob.size or (one.problem != "" and not np.isnan(one.until_kink))
            if kinks[at] and not one.problem:
                reasons[at] = "another limit is about to bind, or one to stop"
    return Sensitivity(
        names=tuple(knob.name for knob in dials),
        values=np.array([knob.value for knob in dials]),
        units=tuple(knob.unit for knob in dials),
        times=past.case.times[start:stop],
        dt_h=past.case.dt_h,
        participants=past.case.participant_names,
        service_kw=service,
        until_kink=until,
        at_kink=kinks,
        reasons=reasons,
        memory=memory,
    )


class _Work:
    """Goes through the intervals of a run."""

    def __init__(self, past: Past, mechanism: Mechanism[Any], dials: list[Knob], memory: str) -> None:
        self._past, self._dials = past, dials
        self._here = Side(Grid(past.case, past.network), mechanism)
        self._clears = matches(mechanism, programs_of(mechanism, self._here.grid))
        if self._here.grid.conic:
            raise InputError(f"limits of the network model {past.network.name!r} are not rows: no derivatives")
        if self._clears and not self._here.routes:
            raise InputError(f"{mechanism} has no program that could be differentiated: it goes by sweeps")
        self._others = [
            (
                Side.turned(self._here, knob, knob.step, past.model),
                Side.turned(self._here, knob, -knob.step, past.model),
            )
            for knob in dials
        ]
        remembers = type(mechanism).advance is not Mechanism.advance
        self._carries = remembers and memory == CARRIED
        self._state: State = mechanism.initial_state(past.case)
        self._rates: list[Rates | None] = [self._nothing() for _ in dials]

    def _nothing(self) -> Rates:
        return {name: np.zeros_like(a) for name, a in self._state.arrays().items()}

    def intervals(self, start: int, stop: int, report: Report | None) -> Iterator[tuple[int, list[Tangent]]]:
        """The chosen intervals; those before them only as far as their memory counts."""
        first = self._past.first
        length = min(BLOCK_STEPS, self._here.grid.block_steps)
        for at in range(first, stop, length):
            end = min(at + length, stop)
            needed = self._carries or end > start
            asked = self._here.intervals(at, end, swept=needed)
            others = [tuple(s.intervals(at, end) for s in sides) for sides in self._others] if needed else []
            for k, requests in enumerate(asked):
                allocation = self._past.allocation.select(at + k - first)
                if self._carries or at + k >= start:
                    turned = [(ahead[k], behind[k]) for ahead, behind in others]
                    found = self._interval(at + k, requests, allocation, turned)
                    if at + k >= start:
                        yield at + k, found
                self._state = self._here.mechanism.advance(self._state, allocation, requests)
            if report is not None:
                report(end - first, stop - first)

    def _interval(self, k: int, requests: Any, allocation: Allocation, turned: Any) -> list[Tangent]:
        n = self._here.grid.n
        base, problem = self._solved(k, requests, allocation)
        found = []
        for p, (sides, asked) in enumerate(zip(self._others, turned, strict=True)):
            rates = self._rates[p]
            after: Rates | None = None
            if base is None or rates is None:
                one = Tangent.unknown(n, problem or BEFORE)
            else:
                one = tangent(self._here, sides, base, asked, rates, self._clears)
                if self._carries and not np.isnan(one.service_kw).any():
                    after = advanced(sides, base, asked, rates, one.service_kw)
            found.append(one)
            self._rates[p] = after if self._carries else rates
        return found

    def _solved(self, k: int, requests: Any, allocation: Allocation) -> tuple[Solved | None, str]:
        """The interval solved again; None and the reason where it is not what the run did."""
        if k in self._past.other:
            return None, self._past.other[k]
        try:
            base = solved(self._here, requests, self._state, self._clears)
        except NoAnswerError as error:
            return None, f"no answer: {error.reason}"
        room = SAME * np.maximum(requests.both_kw, 1.0)
        if np.any(np.abs(base.served_kw - allocation.both_kw) > room):
            return None, "the run served something else than its mechanism gives"
        return base, ""
