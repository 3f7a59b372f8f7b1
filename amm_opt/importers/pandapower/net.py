"""The tables of a pandapower net, read with their units, defaults and states; what is wrong in them is collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, counted, shorten, shown
from amm_opt.importers.report import ImportReport
from amm_opt.io.columns import floats, unique_names

REQUIRED: dict[str, tuple[str, ...]] = {
    "bus": ("vn_kv",),
    "ext_grid": ("bus", "vm_pu"),
    "line": ("from_bus", "to_bus", "length_km", "r_ohm_per_km", "x_ohm_per_km"),
    "trafo": ("hv_bus", "lv_bus", "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent"),
    "trafo3w": tuple(
        f"{c.format(side)}"
        for c in ("{}_bus", "sn_{}_mva", "vn_{}_kv", "vk_{}_percent", "vkr_{}_percent")
        for side in ("hv", "mv", "lv")
    ),
    "impedance": ("from_bus", "to_bus", "rft_pu", "xft_pu", "rtf_pu", "xtf_pu", "sn_mva"),
    "switch": ("bus", "element", "et", "closed"),
    "load": ("bus", "p_mw"),
    "sgen": ("bus", "p_mw"),
    "gen": ("bus", "p_mw"),
    "shunt": ("bus", "q_mvar"),
    "ward": ("bus", "ps_mw", "qs_mvar", "pz_mw", "qz_mvar"),
    "storage": ("bus", "p_mw", "max_e_mwh"),
    "motor": ("bus", "pn_mech_mw", "cos_phi"),
    "dcline": ("from_bus", "to_bus", "p_mw", "loss_percent", "loss_mw"),
    "asymmetric_load": ("bus", "p_a_mw", "p_b_mw", "p_c_mw"),
    "asymmetric_sgen": ("bus", "p_a_mw", "p_b_mw", "p_c_mw"),
}
"""Tables that are read and the columns that they must have."""
REFERENCES = ("bus", "from_bus", "to_bus", "hv_bus", "mv_bus", "lv_bus", "element", "et")
LEFT_OUT = ("controller",)
QUIET = {
    "poly_cost",
    "pwl_cost",
    "std_types",
    "profiles",
    "trafo_characteristic_table",
    "bus_geodata",
    "line_geodata",
    "dtypes",
}
"""Tables that are read elsewhere, or say nothing about the network."""


class NetTables:
    """Tables of one net.

    Attributes:
        problems: what is wrong, one sentence each.
        bus: names of the buses in service, by their index; ``vn_kv`` their nominal voltages.
        phased: whether loads or plants are on single phases, so that the network is on phases.
    """

    def __init__(self, net: Any, name: str) -> None:
        self.name, self.problems, self.report = name, [], ImportReport()  # type: tuple[str, list[str], ImportReport]
        if not (isinstance(net, Mapping) or (hasattr(net, "keys") and hasattr(net, "__getitem__"))):
            raise InputError(
                f"net is a {type(net).__name__}; a pandapower net, or a mapping of its tables, is needed"
                " (import_network('pandapower', path) reads a file)"
            )
        self.net = net
        self._known: dict[str, pd.DataFrame] = {}
        buses = self.table("bus")
        if self.problems or len(buses) == 0:
            raise InputError(self.problems or ["the net has no buses in service"], subject=name)
        self.bus = pd.Series(unique_names(self.names(buses, "bus")), index=buses.index)
        self.vn_kv = self.numbers(buses, "bus", "vn_kv")
        self._all_buses = set(self.raw("bus").index)
        self.phased = any(len(self.table(kind)) for kind in ("asymmetric_load", "asymmetric_sgen"))

    @property
    def frequency_hz(self) -> float:
        """Of the net, 50 where it does not say."""
        given = self.net["f_hz"] if "f_hz" in self.net else 50.0  # noqa: SIM401
        if not isinstance(given, int | float | np.number) or not 0 < given < 1000:
            self.problems.append(f"f_hz = {shown(given)} must be a positive number")
            return 50.0
        return float(given)

    def raw(self, kind: str) -> pd.DataFrame:
        """All elements of a kind, in service or not; no rows where the net has none."""
        table = self.net[kind] if kind in self.net else None  # noqa: SIM401
        return table if isinstance(table, pd.DataFrame) else pd.DataFrame()

    def table(self, kind: str) -> pd.DataFrame:
        """The elements of a kind that are in service."""
        if kind in self._known:
            return self._known[kind]
        table = self.raw(kind)
        if len(table) and (said := _unreadable(table, kind)):
            self.problems += said
            table = pd.DataFrame()
        if len(table) and "in_service" in table:
            on = self.flags(table, kind, "in_service")
            if not on.all():
                self.report.left_out.append(f"{int((~on).sum())} of {len(table)} {kind} elements out of service")
            table = table[on]
        self._known[kind] = table
        return table

    def names(self, table: pd.DataFrame, kind: str) -> list[str]:
        """Names, made from the index where there is none."""
        given = table["name"] if "name" in table else [None] * len(table)
        return [
            f"{kind} {i}" if _is_empty(n) or str(n).strip() == "" else str(n)
            for i, n in zip(table.index, given, strict=True)
        ]

    def numbers(
        self, table: pd.DataFrame, kind: str, column: str, default: float | None = None, *, lower: float = -np.inf
    ) -> pd.Series[float]:
        """A column as finite floats of at least ``lower``; empty places get the default.

        Without one they are problems, and so is everything else that is no such number.
        """
        if column not in table:
            return pd.Series(np.nan if default is None else default, index=table.index, dtype=float)
        raw = table[column]
        values = floats(raw)
        empty = raw.isna()
        bad = (values.isna() & ~empty) | np.isinf(values) | (values < lower)
        bad |= empty & (default is None)
        allowed = "a finite number" if lower == -np.inf else f"a finite number of at least {lower:g}"
        for label, value in list(zip(self.names(table[bad], kind), raw[bad], strict=True))[:20]:
            self.problems.append(f"{kind} {label!r}: {column} = {shown(value)} must be {allowed}")
        return values.where(~bad, 1.0 if default is None else default).fillna(1.0 if default is None else default)

    def flags(self, table: pd.DataFrame, kind: str, column: str) -> pd.Series[bool]:
        """A column of truth values (numbers 0 and 1 count)."""
        raw = table[column]
        read = [
            bool(v) if isinstance(v, bool | np.bool_ | int | float | np.number) and v in (0, 1) else None for v in raw
        ]
        bad = [value is None for value in read]
        for label, value in list(zip(self.names(table[bad], kind), raw[bad], strict=True))[:20]:
            self.problems.append(f"{kind} {label!r}: {column} = {shown(value)} must be true or false")
        return pd.Series([bool(v) for v in read], index=table.index, dtype=bool)

    def texts(self, table: pd.DataFrame, column: str) -> pd.Series[str]:
        """A column as texts, empty where it or a value is missing."""
        if column not in table:
            return pd.Series("", index=table.index, dtype=object)
        return pd.Series(["" if _is_empty(v) else str(v) for v in table[column]], index=table.index, dtype=object)

    def at_buses(self, table: pd.DataFrame, kind: str, columns: Sequence[str] = ("bus",)) -> pd.DataFrame:
        """Elements whose buses are all in service; a bus that the net does not have is a problem."""
        inside = pd.Series(True, index=table.index)
        for column in columns:
            known = table[column].isin(self._all_buses)
            self.problems += [
                f"{kind} {label!r}: {column} = {shown(value)} is no bus of the net"
                for label, value in zip(self.names(table[~known], kind), table[column][~known], strict=True)
            ]
            inside &= table[column].isin(self.bus.index)
        gone = int((~inside).sum())
        if gone:
            self.report.left_out.append(f"{counted(gone, f'{kind} element')} at buses out of service")
        return table[inside]

    def add_bus(self, name: str, vn_kv: float) -> int:
        """Index of a new bus, such as the star point of a transformer."""
        index = 1 + max((int(i) for i in self._all_buses if isinstance(i, int | np.integer)), default=0)
        self.bus.loc[index] = unique_names([name], set(self.bus))[0]
        self.vn_kv.loc[index] = vn_kv
        self._all_buses.add(index)
        return index

    def check_the_rest(self) -> None:
        """Elements that cannot be modelled are problems; what else is not read is named."""
        unread = []
        for kind in map(str, self.net.keys()):
            if kind in REQUIRED or kind in QUIET or kind.startswith(("_", "res_")):
                continue
            table = self.raw(kind)
            if not len(table):
                continue
            if kind in LEFT_OUT:
                self._left_out(kind)
            elif "in_service" in table:
                if n := len(rest := self.table(kind)):
                    self.problems.append(
                        f"{counted(n, f'{kind} element')}: not supported ({shorten(self.names(rest, kind))})"
                    )
            else:
                unread.append(f"{kind} ({counted(len(table), 'row')})")
        if unread:
            self.report.left_out.append(f"tables that are not read: {', '.join(sorted(unread))}")

    def _left_out(self, kind: str) -> None:
        table = self.table(kind)
        if len(table):
            power = self.numbers(table, kind, "p_mw", 0.0).sum() * 1e3 if "p_mw" in table else 0.0
            drawn = f", {power:g} kW drawn" if power else ""
            self.report.left_out.append(f"{counted(len(table), f'{kind} element')}{drawn}")


def _is_empty(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _unreadable(table: pd.DataFrame, kind: str) -> list[str]:
    """Why a table cannot be read at all."""
    problems = []
    if missing := [c for c in REQUIRED.get(kind, ()) if c not in table]:
        problems.append(f"the {kind} table has no column {shorten(missing)}")
    for what, names in (("index", table.index), ("column", table.columns)):
        if repeated := sorted({str(n) for n in names[names.duplicated()]}):
            problems.append(f"the {kind} table has the {what} {shorten(repeated)} more than once")
    for column in REFERENCES if not problems else ():
        cells = table.get(column, ())
        problems += [
            f"the {kind} table: {column} = {shown(cell)} must be an index or a letter"
            for cell in cells
            if not (isinstance(cell, str | int | float | np.number) or _is_empty(cell))
        ][:20]
    return problems
