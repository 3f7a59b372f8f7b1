"""What a run can be differentiated by: numbers of the mechanism, of the scenario, of a bus or branch, of a request."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.profiles import requested
from amm_opt.cases.scenario import SCALES
from amm_opt.errors import InputError, Problems, unknown
from amm_opt.fields import is_number, shortened
from amm_opt.market import Mechanism

STEP = 1e-5
"""Differences of a program's numbers are taken over this share of a value, or of its unit where that is smaller."""
UNITS = {"kva": "kVA", "kw": "kW", "pu": "pu"}
OF_BRANCH = ("rating_kva", "import_limit_kw", "export_limit_kw")
OF_BUS = ("v_min_pu", "v_max_pu")
OF_PARTICIPANT = ("import_request_kw", "export_request_kw", "inflexible_kw")

Made = tuple[Case, Mechanism[Any]]


def _same(case: Case, mechanism: Mechanism[Any], by: float) -> Made:
    return case, mechanism


def _unchanged(requests: Requests, by: float) -> Requests:
    return requests


@dataclass(frozen=True, eq=False)
class Knob:
    """One number that a run depends on.

    Attributes:
        name: as it was asked for, such as ``alpha`` or ``rating_kva:feeder head``.
        value: of the run; of a request the kW that are added to it, 0.
        unit: of the number; empty where it has none.
        made: case and mechanism with this much added to the number.
        asked: likewise the requests of a block.
    """

    name: str
    value: float
    unit: str
    made: Callable[[Case, Mechanism[Any], float], Made] = field(default=_same)
    asked: Callable[[Requests, float], Requests] = field(default=_unchanged)

    @property
    def size(self) -> float:
        """What counts as a change of the order of the number itself."""
        return abs(self.value) or 1.0

    @property
    def step(self) -> float:
        """The step of differences."""
        return STEP * self.size


def knobs(names: tuple[object, ...], case: Case, mechanism: Mechanism[Any]) -> list[Knob]:
    """The numbers of these names.

    Raises:
        InputError: all that are none, or that have no number on one of their sides.
    """
    said = Problems()
    found = [said.of(partial(_checked, name, case, mechanism)) for name in names]
    if not names:
        said.say(f"nothing to differentiate by; valid choices: {_choices(mechanism)}")
    said.report()
    return [knob for knob in found if knob is not None]


def _knob(name: object, case: Case, mechanism: Mechanism[Any]) -> Knob:
    if not isinstance(name, str):
        raise InputError(f"{shortened(name)} must be a name, such as {_choices(mechanism)}")
    kind, colon, of = name.partition(":")
    if colon and kind in (*OF_BRANCH, *OF_BUS):
        return _of_feeder(name, kind, of, case)
    if colon and kind in OF_PARTICIPANT:
        return _of_participant(name, kind, of, case)
    if name in SCALES:
        return Knob(name, getattr(case.scenario, name), "", _scaled(name))
    value: Any = getattr(mechanism, name, None) if name in {f.name for f in _own(mechanism)} else None
    if isinstance(value, bool) or not is_number(value):
        raise unknown("number of the mechanism, scenario, a limit or a request", name, [_choices(mechanism)])
    return Knob(name, float(value), "kW" if name.endswith("_kw") else "", _parameter(name))


def _own(mechanism: Any) -> tuple[Any, ...]:
    return fields(mechanism) if hasattr(type(mechanism), "__dataclass_fields__") else ()


def _choices(mechanism: Mechanism[Any]) -> str:
    own = [f.name for f in _own(mechanism) if isinstance(getattr(mechanism, f.name), float)]
    kinds = [f"{kind}:NAME" for kind in (*OF_BRANCH, *OF_BUS, *OF_PARTICIPANT)]
    return ", ".join([*own, *SCALES, *kinds])


def _checked(name: object, case: Case, mechanism: Mechanism[Any]) -> Knob:
    """The number of this name, where there are others on both sides of it."""
    knob = _knob(name, case, mechanism)
    for by in (knob.step, -knob.step):
        try:
            knob.made(case, mechanism, by)
        except InputError as error:
            raise InputError(f"{knob.name} = {knob.value:g} has no derivative to both sides: {error}") from error
    return knob


def _parameter(name: str) -> Callable[[Case, Mechanism[Any], float], Made]:
    def made(case: Case, mechanism: Mechanism[Any], by: float) -> Made:
        changed: Any = mechanism
        return case, replace(changed, **{name: float(getattr(mechanism, name)) + by})

    return made


def _scaled(name: str) -> Callable[[Case, Mechanism[Any], float], Made]:
    def made(case: Case, mechanism: Mechanism[Any], by: float) -> Made:
        return case.with_scenario(**{name: getattr(case.scenario, name) + by}), mechanism

    return made


def _of_feeder(name: str, column: str, of: str, case: Case) -> Knob:
    """A limit of a branch or bus, as it is after the scenario's factors."""
    feeder = case.feeder
    names = feeder.bus_names if column in OF_BUS else feeder.branch_names
    if of not in names or (column in OF_BRANCH and not of):
        raise unknown("bus" if column in OF_BUS else "branch", of, _near(of, names))
    at = names.index(of)
    value = float(getattr(feeder, column)[at])
    if not np.isfinite(value):
        raise InputError(f"{name}: {of!r} has no such limit")

    def made(case: Case, mechanism: Mechanism[Any], by: float) -> Made:
        limits = getattr(case.feeder, column).copy()
        limits[at] += by
        changed: Any = {column: limits}
        return replace(case, feeder=replace(case.feeder, **changed)), mechanism

    return Knob(name, value, UNITS[column.rpartition("_")[2]], made)


def _near(name: str, known: tuple[str, ...]) -> list[str]:
    """The names that are most like it."""
    return difflib.get_close_matches(name, known, n=4, cutoff=0.0)


def _of_participant(name: str, quantity: str, of: str, case: Case) -> Knob:
    """So many kW more, of a request where there is one."""
    if of not in case.participant_names:
        raise unknown("participant", of, _near(of, case.participant_names))
    who = case.participant_names.index(of)

    def asked(requests: Requests, by: float) -> Requests:
        power: FloatArray = getattr(requests, quantity).copy()
        there = np.ones(len(power), dtype=bool) if quantity == "inflexible_kw" else requested(power[:, who])
        power[there, who] += by
        changed: Any = {quantity: power}
        return replace(requests, **changed)

    return Knob(name, 0.0, "kW", asked=asked)
