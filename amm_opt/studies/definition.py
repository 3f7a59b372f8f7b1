"""What a study is asked for, as labels, axes and variants, and how it is known again."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases import Case
from amm_opt.errors import InputError, Problems
from amm_opt.fields import is_number, is_text, is_whole, shortened
from amm_opt.market import Mechanism
from amm_opt.registry import as_mechanism
from amm_opt.simulation.stored.difference import DIGEST
from amm_opt.simulation.stored.digest import of_bytes
from amm_opt.simulation.stored.inputs import code_of, releases
from amm_opt.studies.parameters import Value, changed, check_name, check_value, is_whole_parameter
from amm_opt.studies.sample import Sample
from amm_opt.studies.variant import Plan, Variant, steps_of

Axis = list[dict[str, Value]]
"""Some parameters, and the values that they take together."""
RANGE = ("from", "to", "count", "spacing")
SPACINGS = ("linear", "log")
FEW = 12
"""So many values of a parameter are written out."""
MOST_VARIANTS = 100_000
"""A study may have so many; each is checked before the first is run, and its row is kept in memory."""


@dataclass(frozen=True)
class Given:
    """The parameters of a study as they were given."""

    parameters: Any
    variants: Any
    sample: Sample | None


def listed(option: str, value: Sequence[Any], said: Problems) -> dict[str, Any]:
    """Arguments of ``simulate`` by their labels; none, or two of one label, goes to ``said``."""
    found: dict[str, Any] = {}
    for item in value:
        label = str(getattr(item, "__name__", None) or getattr(item, "name", None) or item)
        if label in found:
            said.say(f"{option}: two of the list are called {label!r}, which the table could not tell apart")
        found[label] = item
    if not found:
        said.say(f"{option}: the list is empty")
    return found


def named_cases(given: Any, said: Problems) -> dict[str, Case | str]:
    """Cases by label; what is none, or two of one label, goes to ``said``."""
    items: list[tuple[Any, Any]] = [(None, item) for item in _several(given)]
    if isinstance(given, Mapping):
        items = list(given.items())
    cases: dict[str, Case | str] = {}
    for label, item in items:
        if not isinstance(item, Case | str | Path) or not str(item):
            said.say(f"case = {shortened(item)} must be a case, its name or its folder")
            continue
        name = str(label if label is not None else item.name if isinstance(item, Case) else item)
        if name in cases:
            said.say(f"two cases are called {name!r}: give them as a mapping with labels")
        cases[name] = item if isinstance(item, Case) else str(item)
    if not items:
        said.say("no case is given")
    return cases


def named_mechanisms(given: Any, said: Problems) -> dict[str, Mechanism[Any]]:
    """Mechanisms by label, name and the parameters that differ from their defaults; what is none goes to ``said``."""
    found: dict[str, Mechanism[Any]] = {}
    for item in _several(given):
        made = said.of(partial(as_mechanism, item))
        if made is None:
            continue
        if str(made) in found:
            said.say(f"mechanism {str(made)!r} is given twice")
        found[str(made)] = made
    if not _several(given):
        said.say("no mechanism is given")
    return found


def _several(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def axes_of(given: Given, mechanisms: Sequence[Mechanism[Any]]) -> list[Axis]:
    """The axes whose every combination is run: the list of variants, one for each parameter, the sample.

    Raises:
        InputError: everything that is wrong with names and forms.
    """
    said = Problems()
    rows, grid = _rows(given.variants, said), _grid(given.parameters, said)
    bounds = {} if given.sample is None else {name: list(pair) for name, pair in given.sample.bounds.items()}
    of_rows: dict[str, list[Value]] = {}
    for row in rows:
        for name, value in row.items():
            of_rows.setdefault(name, []).append(value)
    seen: dict[str, str] = {}
    places: dict[str, Mapping[str, Sequence[Any]]] = {"variants": of_rows, "parameters": grid, "sample": bounds}
    for place, tried in places.items():
        for name, values in tried.items():
            if name in seen:
                said.say(f"parameter {name!r} is given twice: in {seen[name]} and in {place}")
            seen[name] = place
            said.of(partial(_check_each, name, values, mechanisms))
    if given.sample is not None and given.sample.size > MOST_VARIANTS:
        said.say(too_many(given.sample.size))
    whole = [name for name in bounds if is_whole_parameter(name, mechanisms)]
    for name in whole:
        if not all(float(end).is_integer() for end in bounds[name]):
            said.say(f"bounds of {name} = {shortened(bounds[name])} must be whole numbers, as its values are")
    said.report()
    axes: list[Axis] = [rows] if rows else []
    axes += [[{name: value} for value in values] for name, values in grid.items()]
    if given.sample is not None:
        axes.append(given.sample.points(whole))
    return axes


def too_many(count: int) -> str:
    """The sentence that refuses a study with more variants than it may have."""
    return f"the study has {count:,} variants, at most {MOST_VARIANTS:,} are allowed"


def variants_of(heads: Mapping[str, Sequence[str]], axes: Sequence[Axis]) -> tuple[Variant, ...]:
    """Every combination, numbered from 0.

    Raises:
        InputError: where there are too many.
    """
    every: list[Axis] = [[{name: value} for value in values] for name, values in heads.items()]
    if (count := prod(map(len, (*every, *axes)))) > MOST_VARIANTS:
        raise InputError(too_many(count))
    combined = product(*every, *axes)
    return tuple(Variant(k, {n: v for part in parts for n, v in part.items()}) for k, parts in enumerate(combined))


def _check_each(name: str, values: Sequence[Value], mechanisms: Sequence[Mechanism[Any]]) -> None:
    """See that a parameter exists, and that each of its values by itself makes sense.

    Raises:
        InputError: everything that is wrong.
    """
    check_name(name, mechanisms)
    said = Problems()
    for value in {repr(value): value for value in values}.values():
        said.of(partial(check_value, name, value))
        if name.startswith("mechanism."):
            for item in mechanisms:
                said.of(partial(changed, item, {name: value}))
    said.report()


def _rows(given: Any, said: Problems) -> Axis:
    if given is None:
        return []
    if isinstance(given, pd.DataFrame):
        if twice := sorted({str(name) for name in given.columns[given.columns.duplicated()]}):
            said.say(f"variants: column {twice[0]} is there twice")
            return []
        given = given.to_dict("records")
    if not isinstance(given, list | tuple) or not all(isinstance(row, Mapping) for row in given):
        said.say(f"variants = {shortened(given)} must be a table, or a list of mappings")
        return []
    rows: Axis = []
    for k, row in enumerate(given):
        flat = said.of(partial(flattened, row)) or {}
        rows.append({name: value for name, v in flat.items() if (value := _plain(v)) is not None})
        for name, value in flat.items():
            if not _is_value(_plain(value)):
                said.say(f"variants, row {k}: {name} = {shortened(value)} must be a number, text or true or false")
    if not rows:
        said.say("variants: there is no row")
    return rows


def _grid(given: Any, said: Problems) -> dict[str, list[Value]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        said.say(f"parameters = {shortened(given)} must be a mapping from names to values")
        return {}
    grid = {}
    for name, values in (said.of(partial(flattened, given)) or {}).items():
        if isinstance(values, Mapping):
            values = said.of(partial(_range, name, values))
            if values is None:
                continue
        elif isinstance(values, np.ndarray | pd.Series | range | tuple):
            values = list(values)
        asked = values if isinstance(values, list) else [values]
        values = [_plain(value) for value in asked]
        if not values:
            said.say(f"parameters: {name} has no values")
        right = [value for value in values if value is not None and _is_value(value)]
        if wrong := [raw for raw, v in zip(asked, values, strict=True) if v is None or not _is_value(v)]:
            said.say(f"parameters: {name} = {shortened(wrong[0])} must be a number, text or true or false")
        elif len({(isinstance(value, bool), value) for value in values}) < len(values):
            said.say(f"parameters: {name} has a value twice")
        grid[name] = right
    return grid


def flattened(given: Mapping[Any, Any], before: str = "") -> dict[str, Any]:
    """``{"mechanism": {"rho": 1}}`` as ``{"mechanism.rho": 1}``; ranges stay as they are.

    Raises:
        InputError: where both forms of one name are there.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        whole = f"{before}{name}"
        inside = isinstance(value, Mapping) and not set(value) & set(RANGE)
        parts = flattened(value, f"{whole}.") if inside else {whole: value}
        if both := sorted(found.keys() & parts.keys()):
            raise InputError(f"parameter {both[0]!r} is given twice")
        found |= parts
    return found


def _range(name: str, given: Mapping[str, Any]) -> list[Value]:
    said = Problems()
    for key in given:
        if key not in RANGE:
            said.say(f"parameters: {name}.{key} is unknown; a range has {', '.join(RANGE)}")
    low, high, count = (given.get(key) for key in RANGE[:3])
    spacing = given.get("spacing", SPACINGS[0])
    for key, value in (("from", low), ("to", high)):
        if not is_number(value):
            said.say(f"parameters: {name}.{key} = {shortened(value)} must be a number")
    if not (is_whole(count) and 1 < count <= MOST_VARIANTS):  # type: ignore[operator]
        allowed = f"a whole number of at least 2 and at most {MOST_VARIANTS:,}"
        said.say(f"parameters: {name}.count = {shortened(count)} must be {allowed}")
    if spacing not in SPACINGS:
        said.say(f"parameters: {name}.spacing = {shortened(spacing)}; valid choices: {', '.join(SPACINGS)}")
    elif spacing == "log" and is_number(low) and is_number(high) and not (low > 0 and high > 0):  # type: ignore[operator]
        said.say(f"parameters: {name} with spacing = 'log' needs from and to above 0")
    said.report()
    make: Any = np.geomspace if spacing == "log" else np.linspace
    return [float(value) for value in make(low, high, count)]


def _plain(value: Any) -> Any:
    """A value as Python writes it; None where it is missing."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_number(value) or is_text(value)


def described(
    bases: Mapping[str, Case],
    plan: Plan,
    variants: Sequence[Variant],
    parameters: Sequence[str],
) -> dict[str, Any]:
    """All that a study's numbers depend on, by the words in which a difference is told."""
    options = plan.options
    rest = ("network", "solver", "forecast", "measurement", "tiers", "ac", "defer", "margin", "time_limit_s")
    tried = {name: sorted({repr(v.parameters.get(name)) for v in variants}) for name in parameters}
    return {
        "cases": {label: case.fingerprint for label, case in bases.items()},
        "intervals": {label: _interval(case, plan) for label, case in bases.items()},
        "mechanisms": {label: repr(item) for label, item in plan.mechanisms.items()},
        f"code of the mechanisms{DIGEST}": [code_of(type(item)) for item in plan.mechanisms.values()],
        "options": {n: str(getattr(options, n)) for n in rest if n not in plan.choices},
        "columns": [column.name for column in options.columns],
        "variants": len(variants),
        "parameters": {
            name: values if len(values) <= 12 else f"{len(values)} values" for name, values in tried.items()
        },
        f"list of variants{DIGEST}": of_bytes(json.dumps([dict(v.parameters) for v in variants]).encode()),
        "releases": dict(releases()),
        "processor": platform.machine(),
    }


def _interval(case: Case, plan: Plan) -> str:
    first, stop = case.span(steps_of(case, plan))
    return f"{case.times[first]} to {case.times[stop - 1]}"
