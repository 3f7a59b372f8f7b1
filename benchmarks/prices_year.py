"""A year of prices: which layers and limits set those of the AMM, and who pays what under AMM, LMP and DNP.

    python benchmarks/prices_year.py                        # the year of mv33lv, some minutes
    python benchmarks/prices_year.py --keep out/prices      # runs are kept there; goes on where it was stopped
    python benchmarks/prices_year.py --steps 336            # the beginning alone; nothing is written

Writes benchmarks/results/prices_year_mv33lv.md, the bill of every participant beside it as CSV, and the picture
docs/images/price_layers.png.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.pictures.over_time.prices import save_price_layers

CASE, SPECS = "mv33lv", ("amm", "dnp", "lmp:value=0.4,source_price=0.1")
"""At one level: where nothing is scarce an imported kWh costs 0.10 by each of them, and at most 0.40."""
RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "price_layers.png"
CREDIT = """<sub>Contains information from mv33lv, derived from SimBench (<https://simbench.net>), which is made
available under the ODbL 1.0.</sub>"""
MOST = 12


def markdown(table: pd.DataFrame, index: str) -> str:
    """A table whose first column is its index; numbers are texts already."""
    head = [index, *map(str, table.columns)]
    rows = [[str(label), *map(str, row)] for label, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def layers_page(run: ao.Run, counts: pd.DataFrame) -> str:
    """What set the prices, and that none left its bounds."""
    parts = []
    for direction, (low, high) in zip(ao.DIRECTIONS, run.known_mechanism.price_bounds or (), strict=True):
        mine = counts[counts["direction"] == direction]
        lowest, highest = float(mine["lowest_price"].min()), float(mine["highest_price"].max())
        assert low <= lowest <= highest <= high, f"{direction} prices {lowest} to {highest} leave {low} to {high}"
        by_layer = mine.groupby("layer")["share_pct"].sum().sort_values(ascending=False)
        said = ", ".join(f"{layer or 'no limit'} {share:.3f} %" for layer, share in by_layer.items())
        parts.append(
            f"**{direction.capitalize()}**: {said}. Prices from {lowest:.4f} to {highest:.4f}, bounds {low:.2f} and"
            f" {high:.2f}: never left."
        )
        most = mine[mine["layer"] != ""].nlargest(MOST, "share_pct")
        shown = most[["layer", "kind", "intervals"]].assign(
            share=[f"{v:.3f}" for v in most["share_pct"]],
            mean=[f"{v:.4f}" for v in most["mean_price"]],
            hours=[hours(v) for v in most["by_hour"]],
        )
        shown.index = most["limit"]
        names = {"share": "prices set, %", "mean": "mean price", "hours": "most at, hours"}
        parts.append(markdown(shown.rename(columns=names), "limit"))
    return "\n\n".join(parts)


def hours(by_hour: tuple[int, ...]) -> str:
    """The three hours of day with the most."""
    return ", ".join(f"{h:02d}" for h in sorted(np.argsort(by_hour)[::-1][:3].tolist()) if by_hour[h])


def bills_page(settled: dict[str, ao.Settlement], feeders: int) -> str:
    """Who pays what, in three tables."""
    operator = pd.DataFrame({label: s.operator for label, s in settled.items()}).T
    money = operator.drop(columns="charges").map(lambda v: "-" if pd.isna(v) else f"{v:.0f}")
    bills = pd.DataFrame({label: s.participants["bill"] for label, s in settled.items()})
    active = pd.concat([s.participants[["import_kwh", "export_kwh"]] for s in settled.values()], axis=1).any(axis=1)
    levels = {"lowest": 0.0, "tenth": 0.1, "median": 0.5, "ninetieth": 0.9, "highest": 1.0}
    spread = pd.DataFrame({name: bills[active].quantile(q).map("{:.2f}".format) for name, q in levels.items()})
    rows = {}
    for label, s in settled.items():
        by = s.participants[s.participants["feeder"] != ""].groupby("feeder")[["import_kwh", "paid", "bill"]].sum()
        price = (by["paid"] / by["import_kwh"]).sort_values()
        rows[label] = {
            "least": f"{price.iloc[0]:.4f} ({price.index[0]})",
            "median": f"{price.median():.4f}",
            "most": f"{price.iloc[-1]:.4f} ({price.index[-1]})",
        }
    count = int(active.sum())
    return "\n\n".join(
        [
            "In currency; energy in MWh. `residual` is all bills, which the operator keeps; `residual_min` and"
            " `residual_max` are its bounds.",
            markdown(money, "mechanism"),
            f"Bills of the {count} participants who import or export something, currency:",
            markdown(spread, "mechanism"),
            f"Mean price of import by LV feeder ({feeders} of them), currency per kWh:",
            markdown(pd.DataFrame(rows).T, "mechanism"),
        ]
    )


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the runs (default: removed afterwards).")
@click.option("--steps", type=click.IntRange(min=1), help="So many intervals of the year, and nothing is written.")
def main(keep: Path | None, steps: int | None) -> None:
    """Run, count, settle, write."""
    with TemporaryDirectory() if keep is None else nullcontext(keep) as folder:
        result = ao.compare(CASE, SPECS, steps=steps, out=Path(folder) / "year", resume=keep is not None)
        run = result["amm"]
        counts = run.price_layers()
        settled = {label: item.settlement() for label, item in result.items()}
    specs = ", ".join(f"`{spec}`" for spec in SPECS)
    text = f"""# A year of prices on {CASE}

`python benchmarks/prices_year.py`: {len(run.times):,} intervals from {run.times[0]:%d %B %Y},
{run.case.n_participants:,} participants; {specs}.

Where nothing is scarce an imported kWh costs 0.10 by each of them, and at most 0.40; an exported one earns 0.08 by the
first two and 0.10 by the third, which buys and sells at one price.

## Which layers and limits set the AMM's prices

In % of all pairs of a participant and an interval.

![Which layers set prices, by hour and month](../../docs/images/price_layers.png)

{layers_page(run, counts)}

## Who pays what

{bills_page(settled, len(run.case.feeder.lv_feeders))}

Every participant's bill: [bills_{CASE}.csv](bills_{CASE}.csv).

{CREDIT}
"""
    if steps is not None:
        click.echo(text)
        return
    (RESULTS / f"prices_year_{CASE}.md").write_text(text, encoding="utf-8")
    bills = (
        settled["amm"]
        .participants[["participant", "feeder"]]
        .assign(**{label: s.participants["bill"] for label, s in settled.items()})
    )
    bills.to_csv(RESULTS / f"bills_{CASE}.csv", index=False, float_format="%.2f")
    save_price_layers(counts, f"amm on {CASE}", len(run.times), PICTURE)


if __name__ == "__main__":
    main()
