"""Readings of meters behind one transformer: a user's table, checked, and as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases.times import read_times
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import is_number, is_text, shortened
from amm_opt.io.columns import numbers, text
from amm_opt.io.tables import as_table, read_table

TRANSFORMER = "transformer"
LOWEST_PU, HIGHEST_PU = 0.5, 1.5
"""A reading outside is no voltage in pu."""
GAPS = ("refuse", "drop")
_NUMBERS = ("p_kw", "q_kvar", "v_pu", "v")


@dataclass(frozen=True, eq=False)
class MeterData:
    """T intervals of n meters behind one transformer.

    Attributes:
        times: T interval starts, in order; they need not be regular.
        meters: n names.
        p_kw, q_kvar: (T, n) net active and reactive power that is drawn; negative where a customer feeds in.
            ``q_kvar`` is None where it is not metered.
        v_pu: (T, n) voltages, per unit of ``nominal_v``.
        v_transformer_pu: (T,) voltage of the transformer's busbar; None where it is not metered.
        nominal_v: volts between phase and neutral that are 1 pu.
    """

    times: pd.DatetimeIndex
    meters: tuple[str, ...]
    p_kw: FloatArray
    v_pu: FloatArray
    q_kvar: FloatArray | None = None
    v_transformer_pu: FloatArray | None = None
    nominal_v: float = 230.0

    @property
    def n_meters(self) -> int:
        """Number of meters n."""
        return len(self.meters)

    @property
    def n_steps(self) -> int:
        """Number of intervals T."""
        return len(self.times)

    def __repr__(self) -> str:
        lacks = [w for w, a in (("kvar", self.q_kvar), ("transformer voltage", self.v_transformer_pu)) if a is None]
        without = f", without {' and '.join(lacks)}" if lacks else ""
        return f"MeterData({counted(self.n_meters, 'meter')}, {counted(self.n_steps, 'interval')}{without})"

    def without(self, *, kvar: bool = False, transformer: bool = False) -> MeterData:
        """The same readings without reactive power, without the transformer's voltage, or without both."""
        return replace(
            self,
            q_kvar=None if kvar else self.q_kvar,
            v_transformer_pu=None if transformer else self.v_transformer_pu,
        )

    def table(self) -> pd.DataFrame:
        """One row per reading, as :func:`read_meters` takes it."""
        T, n = self.p_kw.shape
        columns = {"time": np.repeat(self.times, n), "meter": np.tile(self.meters, T), "p_kw": self.p_kw.ravel()}
        if self.q_kvar is not None:
            columns["q_kvar"] = self.q_kvar.ravel()
        rows = pd.DataFrame({**columns, "v_pu": self.v_pu.ravel()})
        if self.v_transformer_pu is None:
            return rows
        head = pd.DataFrame({"time": self.times, "meter": TRANSFORMER, "v_pu": self.v_transformer_pu})
        return pd.concat([rows, head], ignore_index=True)


def read_meters(
    table: pd.DataFrame | str | Path,
    *,
    meters: Sequence[str] | None = None,
    transformer: str = TRANSFORMER,
    nominal_v: float = 230.0,
    gaps: str = "refuse",
) -> MeterData:
    """Readings of meters from a table: one row per meter and interval.

    Args:
        table: a data frame, or a .csv, .csv.gz or .parquet file, with columns ``time, meter, p_kw`` (net power that is
            drawn, negative where a customer feeds in), ``v_pu`` or ``v`` (volts between phase and neutral), and,
            where it is metered, ``q_kvar``.
        meters: names that must be there, and no others; all that are there where None.
        transformer: the meter whose voltage is that of the transformer's busbar, where there is one; its power is not
            read.
        nominal_v: volts that are 1 pu.
        gaps: what happens to intervals in which a reading is missing: ``refuse`` the table, or ``drop`` them.

    Raises:
        InputError: every problem of the table at once.
    """
    problems = [] if gaps in GAPS else [f"gaps = {shortened(gaps)}; valid choices: {', '.join(GAPS)}"]
    if not (is_number(nominal_v) and 10 <= nominal_v <= 1000):
        problems.append(f"nominal_v = {shortened(nominal_v)} must be volts between phase and neutral, such as 230")
    if meters is not None and (isinstance(meters, str) or not all(is_text(m) for m in meters)):
        problems.append(f"meters = {shortened(meters)} must be a list of names")
    if problems:
        raise InputError(problems, subject="meters")
    rows = as_table(
        table if isinstance(table, pd.DataFrame) else read_table(table, "table of meters", texts=("meter",)),
        "meters",
        times=("time",),
    )
    rows, problems = _checked(rows, float(nominal_v))
    if problems:
        raise InputError(problems, subject="meters")
    is_head = rows["meter"].eq(transformer)
    own, head = rows[~is_head], rows[is_head]
    problems = list(_strangers(set(own["meter"]), meters, transformer)) + list(_twice(rows))
    if own.empty:
        problems.append("no readings of customers")
    if problems:
        raise InputError(problems, subject="meters")
    return _arranged(own, head, meters, nominal_v, gaps)


def _checked(rows: pd.DataFrame, nominal_v: float) -> tuple[pd.DataFrame, list[str]]:
    """The rows with times, texts and numbers, voltages in pu; and what is wrong with them."""
    known = ("time", "meter", *_NUMBERS)
    problems = [f"missing column {c!r}" for c in ("time", "meter", "p_kw") if c not in rows]
    problems += [f"unknown column {c!r}; valid columns: {', '.join(known)}" for c in rows if c not in known]
    if ("v_pu" in rows) == ("v" in rows):
        problems.append("give voltages in one of the columns v_pu and v (volts)")
    if problems:
        return rows, problems
    times, said = read_times(rows["time"], "column 'time'")
    problems += said
    names = [text(value) for value in rows["meter"]]
    problems += [f"row {i + 1}: empty meter" for i, name in enumerate(names) if name is None]
    out = pd.DataFrame({"time": times, "meter": names, "name": names})
    for column in [c for c in _NUMBERS if c in rows]:
        out[column] = numbers(rows.assign(name=names), column, "meter", problems)
        endless = np.isinf(out[column])
        problems += [f"meter {m!r}: {column} must be finite" for m in sorted(set(out["meter"][endless]))]
    if "v" in out:
        out["v_pu"] = out.pop("v") / nominal_v
    odd = out["v_pu"].notna() & ~np.isinf(out["v_pu"]) & ~out["v_pu"].between(LOWEST_PU, HIGHEST_PU)
    for name in dict.fromkeys(out["meter"][odd]):
        at = out[odd & out["meter"].eq(name)]
        first = at.iloc[0]
        told = f"{first['v_pu']:g} pu" if "v_pu" in rows else f"{first['v_pu'] * nominal_v:g} V"
        hint = ": is it in volts? name the column v" if "v_pu" in rows and first["v_pu"] > HIGHEST_PU else ""
        problems.append(f"meter {name!r}: a voltage of {told} at {first['time']} ({len(at)} such readings){hint}")
    return out, problems


def _strangers(there: set[str], meters: Sequence[str] | None, transformer: str) -> Iterator[str]:
    """Meters that are not among those that were named, and the other way round."""
    if meters is None:
        return
    wanted = {str(m) for m in meters} - {transformer}
    if len(wanted | {transformer}) < len({*meters, transformer}) or len(set(meters)) < len(list(meters)):
        yield "meters: a name stands twice"
    if unknown := sorted(there - wanted):
        yield f"unknown meters {shorten(map(repr, unknown))}; they are not among meters="
    if missing := sorted(wanted - there):
        yield f"no readings of meters {shorten(map(repr, missing))}"


def _twice(rows: pd.DataFrame) -> Iterator[str]:
    again = rows[rows.duplicated(["time", "meter"])]
    for name in dict.fromkeys(again["meter"]):
        own = again[again["meter"].eq(name)]
        yield f"meter {name!r} has more than one reading at {own['time'].iloc[0]} ({len(own)} such intervals)"


def _arranged(
    own: pd.DataFrame, head: pd.DataFrame, meters: Sequence[str] | None, nominal_v: float, gaps: str
) -> MeterData:
    """Arrays of what was read; intervals with gaps are named, or left out."""
    names = [str(m) for m in meters] if meters is not None else list(dict.fromkeys(own["meter"]))
    names = [m for m in names if m in set(own["meter"])]
    times = pd.DatetimeIndex(np.unique(own["time"]))
    kinds = [c for c in ("p_kw", "q_kvar", "v_pu") if c in own and not (c == "q_kvar" and own[c].isna().all())]
    row, column = times.get_indexer(own["time"]), pd.Index(names).get_indexer(own["meter"])
    arrays = {c: np.full((len(times), len(names)), np.nan) for c in kinds}
    for c, values in arrays.items():
        values[row, column] = own[c]
    at_head = None
    if not head.empty:
        at_head = head.set_index("time")["v_pu"].reindex(times).to_numpy(float)
        arrays[TRANSFORMER] = at_head[:, None]
    holes = np.column_stack([np.isnan(a).any(axis=1) for a in arrays.values()]).any(axis=1)
    if holes.any() and gaps == "refuse":
        raise InputError(list(_gaps(arrays, names, times)), subject="meters")
    if holes.all():
        raise InputError(f"in each of {counted(len(times), 'interval')} a reading is missing", subject="meters")
    kept = {c: a[~holes] for c, a in arrays.items()}
    return MeterData(
        times[~holes],
        tuple(names),
        kept["p_kw"],
        kept["v_pu"],
        kept.get("q_kvar"),
        None if at_head is None else at_head[~holes],
        float(nominal_v),
    )


def _gaps(arrays: dict[str, FloatArray], names: list[str], times: pd.DatetimeIndex) -> Iterator[str]:
    """One sentence per meter and quantity with gaps."""
    for column, values in arrays.items():
        what = "v_pu" if column == TRANSFORMER else column
        for i in np.flatnonzero(np.isnan(values).any(axis=0)):
            at = np.flatnonzero(np.isnan(values[:, i]))
            meter = TRANSFORMER if column == TRANSFORMER else names[i]
            yield (
                f"meter {meter!r} has no {what} in {len(at)} of {counted(len(times), 'interval')}, first at"
                f" {times[at[0]]}; gaps='drop' leaves out every interval with a gap"
            )
