"""A block of a run as it is kept: named arrays and a table of totals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.market import Allocation
from amm_opt.simulation.results.fairness import by_feeder

FIELDS = ("import_kw", "export_kw", "import_price", "export_price", "battery_kw")
"""Of an allocation."""
PLANNED = ("planned_import_kw", "planned_export_kw")


@dataclass(frozen=True)
class Variable:
    """An array over time that runs keep.

    Attributes:
        dims: its axes; the first is time.
        fill: what it is where nothing is said, such as prices of a failed interval.
        fields: what it holds of an allocation or a plan, by direction where it has that axis.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    meaning: str
    fill: float = np.nan
    fields: tuple[str, ...] = ()

    def shape(self, case: Case, steps: int) -> tuple[int, ...]:
        """In a run of so many intervals."""
        sizes = {"time": steps, "direction": 2, "participant": case.n_participants}
        return tuple(sizes.get(dim, len(case.feeder.lv_feeders)) for dim in self.dims)


OF_PARTICIPANTS = ("time", "direction", "participant")
OF_FEEDERS = ("time", "direction", "feeder")
VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("served_kw", OF_PARTICIPANTS, "kW", "import served and export accepted", fields=FIELDS[:2]),
        Variable("price_per_kwh", OF_PARTICIPANTS, "currency/kWh", "price", fields=FIELDS[2:4]),
        Variable(
            "battery_kw", ("time", "participant"), "kW", "battery power, positive where it discharges", 0.0, FIELDS[4:]
        ),
        Variable("planned_kw", OF_PARTICIPANTS, "kW", "import and export planned on forecasts", fields=PLANNED),
        Variable("feeder_requested_kw", OF_FEEDERS, "kW", "flexible requests of the LV feeder"),
        Variable("feeder_served_kw", OF_FEEDERS, "kW", "flexible power served at the LV feeder"),
    )
}
HELD_IN = {
    field: (variable.name, k if "direction" in variable.dims else None)
    for variable in VARIABLES.values()
    for k, field in enumerate(variable.fields)
}
"""Where a field is: the variable, and its direction there."""
TOTALS = ("requested_import_kw", "served_import_kw", "requested_export_kw", "accepted_export_kw", "inflexible_kw")
"""Sums over participants that every interval has."""


_OF_FIELD = {"mean_import_price": "import_price", "mean_export_price": "export_price", "battery_kw": "battery_kw"}
"""The totals that only runs with these fields have."""


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive intervals from number ``start`` of the case on.

    Attributes:
        arrays: by the names of ``VARIABLES``; the first axis is time.
        totals: (T,) sums and mean prices over all participants.
        fields: what the arrays hold, of ``FIELDS`` and ``PLANNED``.
    """

    start: int
    arrays: dict[str, FloatArray]
    totals: dict[str, FloatArray]
    fields: frozenset[str]

    @property
    def steps(self) -> int:
        """Number of intervals."""
        return len(self.totals["inflexible_kw"])

    @classmethod
    def of(cls, case: Case, requests: Requests, allocation: Allocation, planned: Allocation | None = None) -> Block:
        """From what was requested and what was allocated, (T, n) each."""
        given = {name: values for name in FIELDS if (values := getattr(allocation, name)) is not None}
        if planned is not None:
            given |= dict(zip(PLANNED, (planned.import_kw, planned.export_kw), strict=True))
        arrays = {v.name: _held(v, given) for v in VARIABLES.values() if not given.keys().isdisjoint(v.fields)}
        powers = {
            "requested": np.stack([requests.import_request_kw, requests.export_request_kw], axis=1),
            "served": arrays["served_kw"],
        }
        arrays |= {f"feeder_{name}_kw": by_feeder(case, kw) for name, kw in powers.items()}
        sums = [powers[name][:, d].sum(axis=-1) for d in range(2) for name in ("requested", "served")]
        totals = dict(zip(TOTALS, [*sums, requests.inflexible_kw.sum(axis=-1)], strict=True))
        for direction in DIRECTIONS:
            if f"{direction}_price" in given:
                totals[f"mean_{direction}_price"] = given[f"{direction}_price"].mean(axis=1)
        if "battery_kw" in given:
            totals["battery_kw"] = given["battery_kw"].sum(axis=1)
        return cls(requests.start, arrays, totals, frozenset(given)).trimmed()

    def trimmed(self) -> Block:
        """The same without prices, battery powers and plans that say nothing."""
        fields = frozenset(field for field in self.fields if field in FIELDS[:2] or self._says(field))
        own = {field: of for of, field in _OF_FIELD.items()}
        gone = {own[field] for field in self.fields - fields if field in own}
        return Block(
            self.start,
            {name: a for name, a in self.arrays.items() if not (of := VARIABLES[name].fields) or fields & set(of)},
            {name: a for name, a in self.totals.items() if name not in gone},
            fields,
        )

    def _says(self, field: str) -> bool:
        """Whether a field has anything but its fill."""
        name, direction = HELD_IN[field]
        values = self.arrays[name] if direction is None else self.arrays[name][:, direction]
        fill = VARIABLES[name].fill
        return bool(np.any(~np.isnan(values) if np.isnan(fill) else values != fill))


def _held(variable: Variable, given: dict[str, FloatArray]) -> FloatArray:
    """A variable's array from the fields that are given."""
    if "direction" not in variable.dims:
        return given[variable.fields[0]]
    some = next(given[name] for name in variable.fields if name in given)
    return np.stack([given.get(name, np.full(some.shape, variable.fill)) for name in variable.fields], axis=1)


def fill_of(total: str) -> float:
    """What a column of totals is in blocks that lack it."""
    return 0.0 if total == "battery_kw" else np.nan
