"""Zero sequence of a pandapower net: balanced branches as three phases, where loads or plants are on single ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.importers.pandapower.net import NetTables

LINE_COLUMNS = ("r0_ohm_per_km", "x0_ohm_per_km")
TRAFO_COLUMNS = ("vector_group", "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx", "si0_hv_partial")
CLOCKS = {30: "Dyn1", 150: "Dyn11"}
"""Vector group by the phase shift without half turns, which change no magnitude."""


def on_phases(branches: pd.DataFrame, z0_ohm: pd.Series[complex]) -> pd.DataFrame:
    """Branches with matrices from both sequences, Z_self = (z0 + 2 z1) / 3 and Z_mutual = (z0 - z1) / 3.

    Args:
        branches: with the positive sequence in ``r_ohm`` and ``x_ohm``; ``z0_ohm`` the zero sequence, by its index.
    """
    z1 = branches["r_ohm"].astype(float) + 1j * branches["x_ohm"].astype(float)
    own, mutual = (z0_ohm + 2.0 * z1) / 3.0, (z0_ohm - z1) / 3.0

    def triangle(part: str) -> list[str]:
        pairs = zip(getattr(own.to_numpy(), part), getattr(mutual.to_numpy(), part), strict=True)
        return [f"{s!r} | {m!r} {s!r} | {m!r} {m!r} {s!r}" for s, m in ((float(s), float(m)) for s, m in pairs)]

    rating = branches["rating_kva"].astype(float) / 3.0
    return branches.assign(r_ohm=triangle("real"), x_ohm=triangle("imag"), rating_kva=rating)


def line_zero(t: NetTables, line: pd.DataFrame) -> pd.Series[complex]:
    """Ohm of the zero sequence of lines."""
    _needed(t, "line", LINE_COLUMNS)
    number = t.numbers(line, "line", "parallel", 1.0, lower=1.0)
    length = t.numbers(line, "line", "length_km", lower=0.0)
    r0, x0 = (t.numbers(line, "line", column, lower=0.0) * length / number for column in LINE_COLUMNS)
    if not np.array_equal(*(t.numbers(line, "line", c, 0.0) for c in ("c_nf_per_km", "c0_nf_per_km"))):
        t.report.assumed.append("the capacitance of lines is that of the positive sequence; c0_nf_per_km is not used")
    return r0 + 1j * x0


def transformer_zero(t: NetTables, tr: pd.DataFrame, low_kv: pd.Series[float]) -> tuple[pd.Series[complex], list[str]]:
    """Ohm of the zero sequence at the low-voltage side, and the vector groups.

    A delta closes the zero sequence of the star behind it: z0 = z2 + z1 z_m / (z1 + z_m), leakage on both sides and
    magnetisation (pandapower's T model). Between two grounded stars it is the leakage alone.

    Args:
        low_kv: rated voltage of the low-voltage side, after its taps.
    """
    _needed(t, "trafo", TRAFO_COLUMNS)
    kind, mva = "trafo", t.numbers(tr, "trafo", "sn_mva", lower=1e-9)
    number = t.numbers(tr, kind, "parallel", 1.0, lower=1.0)
    base = low_kv**2 / mva / number
    vk0, vkr0 = (t.numbers(tr, kind, c, lower=0.0) for c in ("vk0_percent", "vkr0_percent"))
    size = vk0 / 100.0 * base
    leak = vkr0 / 100.0 * base + 1j * np.sqrt(np.maximum(size**2 - (vkr0 / 100.0 * base) ** 2, 0.0))
    leak += 3.0 * (t.numbers(tr, kind, "rn_ohm", 0.0) + 1j * t.numbers(tr, kind, "xn_ohm", 0.0))
    rx = t.numbers(tr, kind, "mag0_rx", 0.0, lower=0.0)
    magnetising = size * t.numbers(tr, kind, "mag0_percent", 100.0, lower=0.0) / 100.0 * (rx + 1j) / np.hypot(rx, 1.0)
    part = t.numbers(tr, kind, "si0_hv_partial", 0.9, lower=0.0)
    high = part * leak
    behind = (1.0 - part) * leak + high * magnetising / (high + magnetising).where(high + magnetising != 0, 1.0)
    group = t.texts(tr, "vector_group").str.lower()
    shift = t.numbers(tr, kind, "shift_degree", 0.0) % 180.0
    made = []
    for name, g, s in zip(t.names(tr, kind), group, shift, strict=True):
        found = CLOCKS.get(int(s)) if g == "dyn" and s == int(s) else "YNyn0" if g == "ynyn" and s == 0 else None
        if found is None:
            t.problems.append(
                f"trafo {name!r}: vector_group = {g!r} with shift_degree = {s:g} (but for half turns) is not supported"
                " on phases: Dyn with 30 or 150, and YNyn with 0 are"
            )
        made.append(found or "YNyn0")
    if (stars := int((group == "ynyn").sum())) > 0:
        t.report.left_out.append(f"magnetisation of the zero sequence of {stars} YNyn transformers")
    return behind.where(group == "dyn", leak), made


def _needed(t: NetTables, kind: str, columns: tuple[str, ...]) -> None:
    """Columns that loads on single phases need."""
    table = t.table(kind)
    t.problems += [
        f"the {kind} table has no column {c}, which loads and plants on single phases need"
        for c in columns
        if len(table) and c not in table
    ]
