"""The comparison of arXiv 2606.22463 on cases of one's own: table with its spread over seeds, fairness by month.

    python benchmarks/paper_table.py                              # a year of mv33lv, five seeds of its scenario
    python benchmarks/paper_table.py CASE --start DATE --steps N  # anything else
    python benchmarks/paper_table.py CASE --keep FOLDER           # runs of hours: goes on where it was stopped

Several cases are seeds of one scenario. Writes ``benchmarks/results/paper_table_<case>.json``, ``.md``,
``_winners.png`` and ``_months.png``, for part of the profiles with its start and length in the name. Nothing is tuned
to the paper: another network, other requests, and our readings where the paper has no equations.
"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import click
import pandas as pd
from helpers.paper_page import Results, markdown, results
from helpers.paper_pictures import months as draw_months
from helpers.paper_pictures import winners
from helpers.paper_records import Job, records

import amm_opt as ao
from amm_opt.io.files import check_writable, folder_names
from amm_opt.study.commands.running import split_specs
from amm_opt.study.compare import labelled

RESULTS = Path(__file__).parent / "results"
SEEDS = tuple(f"mv33lv:seed={seed}" for seed in range(1, 6))
KINDS = {
    "no_control": "no limits",
    "equal_doe": "envelope",
    "equal_doe:enrolled=requesting": "envelope",
    "equal_doe:enrolled=all": "envelope",
    "greedy_doe": "envelope",
    "greedy_doe:enrolled=requesting": "envelope",
    "static": "rule of practice",
    "dimming_14a": "rule of practice",
    "pro_rata": "rule of practice",
    "lifo:seed=1": "rule of practice",
    "rotation": "rule of practice",
    "curtailment_cap": "rule of practice",
    "dnp": "network price",
    "alpha_fair:alpha=0": "each interval alone",
    "alpha_fair": "each interval alone",
    "amm:alpha=0": "each interval alone",
    "fet": "each interval alone",
    "amm:level=participant": "AMM",
    "amm:level=feeder": "AMM",
    "amm": "AMM",
    "fuh": "knows the future",
    "fot": "knows the future",
    "fot:window=all": "knows the future",
}
"""The mechanisms, and the kind of each."""


@click.command()
@click.argument("cases", nargs=-1)
@click.option("--mechanisms", default=",".join(KINDS), help="Comma-separated specs.")
@click.option("--start", help="First interval.")
@click.option("--steps", type=int, help="Number of intervals.")
@click.option("--network", help="Network model (default: by the feeder).")
@click.option("--ac", is_flag=True, help="Replay every run by AC power flow.")
@click.option("--workers", type=int, default=2, show_default=True, help="Runs at the same time.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of finished runs: read if there, else written.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder for the results.")
def main(
    cases: tuple[str, ...],
    mechanisms: str,
    start: str | None,
    steps: int | None,
    network: str | None,
    ac: bool,
    workers: int,
    keep: Path | None,
    out: Path,
) -> None:
    """Make the paper's comparison on CASES (default: five seeds of mv33lv, the whole year)."""
    chosen = labelled(split_specs(mechanisms))
    jobs = [
        job
        for case in cases or SEEDS
        for job in _jobs(case, [str(mechanism) for mechanism in chosen.values()], start, steps, network, ac)
    ]
    one = ao.load_case(jobs[0].case)
    part = "" if jobs[0].stop - jobs[0].first == one.n_steps else f"_{one.times[jobs[0].first]:%Y-%m-%d}_{steps}"
    (name,) = folder_names([f"paper_table_{one.name.partition(':')[0]}{part}"]).values()
    out.mkdir(parents=True, exist_ok=True)
    check_writable(out)
    done = records(jobs, keep, workers)
    command = " ".join(["python benchmarks/paper_table.py", *(Path(case).name for case in cases)])
    command += "" if mechanisms == ",".join(KINDS) else f" --mechanisms {mechanisms}"
    command += (f" --start {start}" if start else "") + (f" --steps {steps}" if steps else "") + (" --ac" if ac else "")
    document = {"command": command, "runs": sorted(done, key=lambda record: jobs.index(Job(**record["job"])))}
    _write(document, one.name.partition(":")[0], out / name)
    click.echo((out / f"{name}.md").read_text(encoding="utf-8"))


def _jobs(
    case: str, mechanisms: list[str], start: str | None, steps: int | None, network: str | None, ac: bool
) -> list[Job]:
    loaded = ao.load_case(case)
    first, stop = loaded.span(slice(start, None))
    stop = stop if steps is None else first + steps
    return [Job(case, mechanism, first, stop, loaded.fingerprint, network, ac) for mechanism in mechanisms]


def read(document: dict, title: str) -> Results:
    """The results of a document that this script wrote."""
    summaries: dict[str, dict[str, pd.Series]] = {}
    months: dict[str, dict[str, pd.DataFrame]] = {}
    for record in document["runs"]:
        case, label = Path(record["job"]["case"]).name, record["label"]
        summaries.setdefault(case, {})[label] = pd.Series(record["summary"], dtype=float)
        text = StringIO(json.dumps(record["jain_by_month"]))
        months.setdefault(case, {})[label] = pd.read_json(text, orient="index", convert_axes=False)
    return results(title, {case: pd.DataFrame(rows).T for case, rows in summaries.items()}, months)


def _write(document: dict, title: str, place: Path) -> None:
    found = read(document, title)
    place.with_name(f"{place.name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    place.with_name(f"{place.name}.md").write_text(markdown(found, document["command"], KINDS), encoding="utf-8")
    winners(found, KINDS, place.with_name(f"{place.name}_winners.png"))
    draw_months(found, place.with_name(f"{place.name}_months.png"))


if __name__ == "__main__":
    main()
