"""Writes docs/importers-networks.md from what ``run.py`` left in benchmarks/results/networks.csv."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
HEAD = """# Which networks import

Every distribution network that pandapower, SimBench and MATPOWER bring, imported as it is and held against pandapower's
power flow. The last of these commands makes this page; the others run what is not yet in
`benchmarks/results/networks.csv`, which has a line for every network.

```sh
pip install 'amm-opt[ac,simbench]'
python benchmarks/networks/run.py pandapower
python benchmarks/networks/run.py simbench
python benchmarks/networks/run.py matpower --folder matpower/data
python benchmarks/networks/table.py
```

- **AC error**: largest difference in pu of our [AC power flow](ac.md) from `pandapower.runpp` (`runpp_3ph` on phases)
  over all buses, at the powers of the file. **Linear error**: the same of [LinDistFlow](network.md#lindistflow), on
  phases of LinDist3Flow.
- **Opened**: a mesh is refused with a list of branches to open. Where the list is short it is taken, in both tools, and
  this column counts it; without `open_branches` these networks are refused. SimBench's codes with `no_sw` have lost the
  switches that open their rings.
- **As a mesh**: where the way to open it would be long, a mesh is read for [`dc`](network.md#dc-for-meshed-networks)
  (`meshed=true`), whose flows are held against `pandapower.rundcpp`.
  That leaves iron losses out, ours are in: without them the largest difference of `1-EHV-mixed--0-no_sw` is
  0.02 MW, not 9.1. Phase shifts of transformers sum to nothing around every loop there. `1-complete_data` holds a
  source at every level besides, which phase shifts part: those of the highest voltage are kept (**sources kept**), in
  both tools.
- Generators give their power at unity power factor in both, and hold no voltage; batteries are idle. MATPOWER's plants
  give Pmax; pandapower gets MATPOWER's matrices after the statements that convert units, by its own converter.
"""
SIMBENCH_CODES = 246
"""Of simbench 1.6.3."""
COLUMNS = {
    "one": ["network", "buses", "participants", "opened", "AC error", "linear error", "voltages, pu"],
    "base": ["network", "switches", "codes", "buses", "batteries", "opened", "AC error", "linear error"],
}


def main() -> None:
    """The page."""
    found = pd.read_csv(ROOT / "benchmarks" / "results" / "networks.csv")
    text = HEAD
    for tool, title in (("pandapower", "pandapower"), ("matpower", "MATPOWER")):
        rows = found[found["tool"].eq(tool)]
        text += f"\n## {title}\n\n{counts(rows)}\n\n{table(rows)}\n"
    rows = found[found["tool"].eq("simbench")]
    rest = SIMBENCH_CODES - len(rows)
    text += f"\n## SimBench\n\n{counts(rows)} One row for the codes of all scenarios, with the largest errors."
    text += f" {rest} of simbench's {SIMBENCH_CODES} codes have not been run yet.\n\n" if rest else "\n\n"
    text += by_base(rows) + "\n"
    if rows["meshed"].eq(True).any():
        text += f"\nAs a mesh:\n\n{meshes(rows[rows['meshed'].eq(True)])}\n"
    (ROOT / "docs" / "importers-networks.md").write_text(text, encoding="utf-8")


def counts(rows: pd.DataFrame) -> str:
    """How many import."""
    good = rows["refused"].isna()
    opened = good & rows["opened"].fillna(0).gt(0)
    said = f"{int(good.sum())} of {len(rows)} import"
    meshes = int(rows["meshed"].eq(True).sum())
    how = [f"{int(opened.sum())} of them with branches opened"] if opened.any() else []
    how += [f"{meshes} of them as a mesh"] if meshes else []
    return ", ".join([said, *how]) + "."


def heading(which: str) -> list[str]:
    """The first two lines of a table."""
    return [f"| {' | '.join(COLUMNS[which])} |", "|---" * len(COLUMNS[which]) + "|"]


def number(value: float, digits: str = ".1e") -> str:
    """Empty where there is none."""
    return "" if value != value else format(value, digits)


def table(rows: pd.DataFrame) -> str:
    """One line per network."""
    lines = heading("one")
    for r in rows.sort_values("name").itertuples():
        if isinstance(r.refused, str):
            lines.append(f"| `{r.name}` | {number(r.buses, '.0f')} | refused: {r.refused} | | | | |")
            continue
        band = "" if r.lowest_pu != r.lowest_pu else f"{r.lowest_pu:.3f} to {r.highest_pu:.3f}"
        band = "no power flow when open" if r.no_flow is True or r.no_flow == "True" else band
        errors = f"{number(r.ac_error_pu)} | {number(r.linear_error_pu, '.4f')}"
        name = f"| `{r.name}` | {r.buses:.0f} | {r.participants:.0f} | {r.opened:.0f}"
        lines.append(f"{name} | {errors} | {band} |")
    return "\n".join(lines)


def by_base(rows: pd.DataFrame) -> str:
    """One line per SimBench network, with and without switches."""
    parts = rows["name"].str.extract(r"^(.*)-(\d)-(sw|no_sw)$")
    rows = rows.assign(base=parts[0], switches=parts[2])
    lines = heading("base")
    for (base, switches), own in rows[~rows["meshed"].eq(True)].groupby(["base", "switches"]):
        key = f"| `{base}` | {'yes' if switches == 'sw' else 'no'} | {len(own)}"
        good = own[own["refused"].isna()]
        if len(good):
            span = [f"{int(good[c].min())} to {int(good[c].max())}" for c in ("buses", "batteries", "opened")]
            span = [s if s.split(" to ")[0] != s.split(" to ")[1] else s.split(" to ")[0] for s in span]
            errors = f"{number(good['ac_error_pu'].max())} | {number(good['linear_error_pu'].max(), '.4f')}"
            lines.append(f"{key} | {' | '.join(span)} | {errors} |")
        for reason, same in own[own["refused"].notna()].groupby("refused"):
            short = reason.split(": dc takes")[0].split("meshed=true")[0].rstrip(": ")
            short = "".join(short.partition("no phase shifters")[:2])
            lines.append(f"{key if not len(good) else f'| `{base}` | | {len(same)}'} | refused: {short} | | | | |")
    return "\n".join(lines)


def meshes(rows: pd.DataFrame) -> str:
    """One line per SimBench network that is read as a mesh."""
    lines = [
        "| network | codes | buses | sources kept | batteries | lines compared | largest difference of a flow, MW |",
        "|---" * 7 + "|",
    ]
    for base, own in rows.groupby(rows["name"].str.replace(r"-\d-(?:sw|no_sw)$", "", regex=True)):
        spans = [(own[c].fillna(0).min(), own[c].fillna(0).max()) for c in ("buses", "batteries", "dc_lines")]
        cells = [f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}" for low, high in spans]
        kept = own["sources"].dropna()
        cells.insert(1, "all" if kept.empty else f"{kept.min():.0f}")
        lines.append(f"| `{base}` | {len(own)} | {' | '.join(cells)} | {number(own['dc_error_mw'].max(), '.1f')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
