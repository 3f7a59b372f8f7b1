"""The page of the paper's comparison: rows with their spread over seeds, who differs from whom, months, the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.io.text import number

COLUMNS = {
    "unserved_pct": ("unserved, %", ".2f"),
    "curtailed_pct": ("curtailed, %", ".2f"),
    "violations": ("violations", ".0f"),
    "ac_violations": ("AC violations", ".0f"),
    "jain_feeder_import": ("Jain feeders, import", ".5f"),
    "jain_feeder_export": ("Jain feeders, export", ".5f"),
    "worst_feeder_served_import": ("worst feeder, import", ".4f"),
    "worst_feeder_served_export": ("worst feeder, export", ".4f"),
    "p10_participant_served": ("tenth percentile", ".3f"),
    "worst_participant_served_import": ("worst participant, import", ".3f"),
    "worst_participant_served_export": ("worst participant, export", ".3f"),
    "starved_participants": ("starved", ".0f"),
    "less_pct": ("less than possible, %", ".2f"),
    "failed_steps": ("failed", ".0f"),
    "seconds": ("seconds", ".0f"),
}
"""Column, its heading and how its number is written."""
EQUITY = {
    "jain_feeder": "Jain feeders",
    "worst_feeder_served": "worst feeder",
    "jain_participant": "Jain participants",
    "worst_participant_served": "worst participant",
}
MEASURES = {
    "cut_pct": "energy",
    **{f"{c}_{d}": f"{name}, {d}" for c, name in EQUITY.items() for d in DIRECTIONS},
}
"""In which two mechanisms may differ."""
PUBLISHED = (
    ("unserved import, equal DOE", "96.0 MWh", "equal_doe", "unserved_mwh", " MWh"),
    ("unserved import, AMM", "23.2 MWh", "amm", "unserved_mwh", " MWh"),
    ("curtailed export, equal DOE", "85.4 MWh", "equal_doe", "curtailed_mwh", " MWh"),
    ("curtailed export, AMM", "64.5 MWh", "amm", "curtailed_mwh", " MWh"),
    ("thermal violations, AMM", "0", "amm", "thermal_violations", ""),
    ("Jain index of feeders, AMM", "0.9998", "amm", "jain_feeder", ""),
)
LEAST = 1e-4
"""A smaller difference of shares or indices (0.01 per cent) counts as none."""
BOUND = "alpha_fair:alpha=0"
"""The mechanism that serves most energy."""


@dataclass(frozen=True, eq=False)
class Results:
    """Numbers by column, each a table (mechanisms, cases); Jain of feeders by month, by case and mechanism."""

    name: str
    columns: Mapping[str, pd.DataFrame]
    months: Mapping[str, Mapping[str, pd.DataFrame]]

    @property
    def labels(self) -> list[str]:
        return list(self.columns["unserved_mwh"].index)

    @property
    def seeds(self) -> int:
        return self.columns["unserved_mwh"].shape[1]

    def lower_jain(self, label: str) -> pd.DataFrame:
        """The lower direction's Jain index so far, (months, cases)."""
        return pd.DataFrame({case: months[label].min(axis=1) for case, months in self.months.items()})


def results(
    name: str, summaries: Mapping[str, pd.DataFrame], months: Mapping[str, Mapping[str, pd.DataFrame]]
) -> Results:
    """From a table of summaries (mechanisms, columns) for every case."""
    full = {case: _derived(table) for case, table in summaries.items()}
    names = list(next(iter(full.values())).columns)
    return Results(name, {c: pd.DataFrame({case: t[c] for case, t in full.items()}) for c in names}, months)


def _derived(table: pd.DataFrame) -> pd.DataFrame:
    t = table.copy()
    t["unserved_pct"] = 100.0 * t["unserved_mwh"] / t["requested_import_mwh"]
    t["curtailed_pct"] = 100.0 * t["curtailed_mwh"] / t["requested_export_mwh"]
    asked = t["requested_import_mwh"] + t["requested_export_mwh"]
    served = asked - t["unserved_mwh"] - t["curtailed_mwh"]
    t["cut_pct"] = 100.0 * (1.0 - served / asked)
    t["violations"] = t["thermal_violations"] + t["voltage_violations"]
    if "ac_thermal_violations" in t:
        t["ac_violations"] = t["ac_thermal_violations"] + t["ac_voltage_violations"]
    if BOUND in t.index:
        t["less_pct"] = (100.0 * (1.0 - served / served[BOUND])).where(t["violations"] == 0)
    return t


def spread(values: pd.Series, form: str) -> str:
    """Mean and standard deviation over seeds, such as ``0.903 ±.002``; the number alone for one case."""
    known = values.dropna()
    if known.empty:
        return ""
    if len(known) == 1:
        return format(float(known.iloc[0]), form)
    deviation = format(float(known.std(ddof=1)), form)
    mean = format(float(known.mean()), form)
    return (
        mean if float(deviation) == 0.0 else f"{mean} ±{deviation.removeprefix('0') if '.' in deviation else deviation}"
    )


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def markdown(r: Results, command: str, groups: Mapping[str, str]) -> str:
    """The page."""
    shown = {c: v for c, v in COLUMNS.items() if c in r.columns and r.columns[c].notna().to_numpy().any()}
    lines = [f"# The paper's comparison on {r.name}", "", f"`{command}`", ""]
    if r.seeds > 1:
        lines += [f"Mean over {r.seeds} seeds of the scenario, ± their standard deviation.", ""]
    rows = [
        [label, groups.get(label, ""), *(spread(r.columns[c].loc[label], form) for c, (_, form) in shown.items())]
        for label in r.labels
    ]
    lines += _table(["mechanism", "kind", *(name for name, _ in shown.values())], rows)
    if r.seeds > 1:
        lines += ["", "## Who differs from whom", "", *_separation(r)]
    lines += ["", "## Month by month", ""]
    lines += ["Jain index of the LV feeders from the start to the end of each month, the lower of import and export"]
    lines[-1] += ", mean over the seeds." if r.seeds > 1 else "."
    months = {label: r.lower_jain(label).mean(axis=1) for label in r.labels}
    names = list(next(iter(months.values())).index)
    lines += ["", *_table(["mechanism", *names], [[k, *(number(v, ".5f") for v in m)] for k, m in months.items()])]
    lines += ["", "## The paper", "", "Figures of arXiv 2606.22463 and ours:", ""]
    ours = [[what, paper, _ours(r, label, c) + unit] for what, paper, label, c, unit in PUBLISHED if label in r.labels]
    return "\n".join([*lines, *_table(["figure", "paper", "here"], ours), "", *verdict(r)]) + "\n"


def _ours(r: Results, label: str, column: str) -> str:
    form = {"jain_feeder": ".5f", "thermal_violations": ".0f"}.get(column, ".1f")
    return spread(r.columns[column].loc[label], form)


def separated(r: Results, a: str, b: str) -> list[str]:
    """Where two mechanisms differ: the mean of their differences, seed by seed, is beyond their range and ``LEAST``."""
    found = []
    for column, name in MEASURES.items():
        if column not in r.columns:
            continue
        d = (r.columns[column].loc[a] - r.columns[column].loc[b]).to_numpy() / (100.0 if column == "cut_pct" else 1.0)
        if not np.isnan(d).any() and abs(d.mean()) > max(float(np.ptp(d)), LEAST):
            found.append(name)
    return found


def _separation(r: Results) -> list[str]:
    """Pairs that differ in nothing, and for the AMM in what it differs from everybody."""
    text = "Two mechanisms differ in a measure where the mean of their differences, seed by seed, is larger than"
    lines = [f"{text} the range of these differences, and than 0.01 per cent.", ""]
    compared = [label for label in r.labels if label != "no_control"]
    same = [(a, b) for a, b in combinations(compared, 2) if not separated(r, a, b)]
    count = len(compared) * (len(compared) - 1) // 2
    lines += [f"Of {count} pairs {count - len(same)} differ in at least one measure. Those that do not:", ""]
    lines += [f"- {a} and {b}" for a, b in same] or ["- none"]
    if "amm" in compared:
        rows = [[b, ", ".join(separated(r, "amm", b)) or "nothing"] for b in compared if b != "amm"]
        lines += ["", *_table(["amm against", "differs in"], rows)]
    return lines


def verdict(r: Results) -> list[str]:
    """What is the same as in the paper and what is not, computed."""
    if not {"amm", "equal_doe"} <= set(r.labels):
        return []
    mean = {c: r.columns[c].mean(axis=1) for c in ("unserved_mwh", "curtailed_mwh")}
    change = {c: 100.0 * (m["amm"] / m["equal_doe"] - 1.0) for c, m in mean.items()}
    lines = [
        f"- AMM against equal DOE: unserved {change['unserved_mwh']:+.1f} % (paper: -76 %), curtailed"
        f" {change['curtailed_mwh']:+.1f} % (paper: -24 %). The paper's data, scenario and equations are not public;"
        " the network and the requests here are others, so only directions can be compared."
    ]
    if "greedy_doe" in r.labels:
        gap = 100.0 * (mean["unserved_mwh"]["greedy_doe"] / max(mean["unserved_mwh"]["equal_doe"], 1e-12) - 1.0)
        lines.append(f"- Greedy DOE leaves {gap:+.2f} % more unserved than equal DOE (paper: nearly identical).")
    does = [label for label in r.labels if "doe" in label and not label.startswith("amm")]
    for label in [k for k in r.labels if k.startswith("amm")]:
        ahead = r.lower_jain(label).ge(np.maximum.reduce([r.lower_jain(d).to_numpy() for d in does]) - 1e-12)
        lines.append(
            f"- {label} is ahead of every DOE variant in the lower Jain index of feeders at the end of"
            f" {int(ahead.to_numpy().sum())} of {ahead.size} months{' (all seeds)' if r.seeds > 1 else ''} (paper: from"
            " month 6 on)."
        )
    lines += [f"- Best worst feeder, {d}: {_best(r, f'worst_feeder_served_{d}')}." for d in DIRECTIONS]
    lines.append(
        "- FOT and FUH know the requests of their window beforehand; FET, FOT and FUH give no price, as in the paper."
    )
    return lines


def _best(r: Results, column: str) -> str:
    """Who is best in a column, of those that keep the limits, with how many seeds; ties within 1e-6 count for each."""
    kept = r.columns[column].where(r.columns["violations"] == 0)
    wins = (kept >= kept.max() - 1e-6).sum(axis=1)
    wins = wins[wins > 0].sort_values(ascending=False)
    return ", ".join(f"{label}{f' ({count} of {r.seeds})' if r.seeds > 1 else ''}" for label, count in wins.items())
