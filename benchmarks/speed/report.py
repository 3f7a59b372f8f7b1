"""Turns pytest-benchmark's JSON into the markdown tables of benchmarks/README.md.

python benchmarks/speed/report.py speed.json [year.json ...]
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
PACKAGES = (
    *("numpy", "scipy", "cvxpy", "highspy", "clarabel", "piqp", "osqp", "distopf", "pandas"),
    "pytest-benchmark",
)
Result = dict[str, Any]


def milliseconds(seconds: float) -> str:
    """Three significant digits."""
    ms = 1000.0 * seconds
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def label(result: Result) -> str:
    """What was timed: the test's name without its prefix, and its parameters."""
    return result["name"].removeprefix("test_").replace("[", " ").replace("]", "")


def race(results: list[Result]) -> list[str]:
    """Ways side by side, with their ratio to the engine of the same run."""
    engine = next((r["stats"]["median"] for r in results if r["name"].startswith("test_engine")), float("nan"))
    rows = []
    for r in sorted(results, key=lambda r: r["stats"]["median"]):
        extra, stats = r["extra_info"], r["stats"]
        used = f" ({extra['solver']})" if "default" in r["name"] and "solver" in extra else ""
        error = f"{extra['objective_error']:.0e}" if extra["failed"] < extra["of"] else "-"
        spread = f"{milliseconds(stats['q1'])} - {milliseconds(stats['q3'])}"
        ratio = (
            f"{stats['median'] / engine:.2g}" if stats["median"] < 100 * engine else f"{stats['median'] / engine:,.0f}"
        )
        solved = f"{extra['of'] - extra['failed']} of {extra['of']}"
        rows.append([label(r) + used, milliseconds(stats["median"]), spread, ratio, error, solved])
    return table(["way", "median, ms", "quartiles, ms", "times the engine", "objective error", "solved"], rows)


def plain(results: list[Result]) -> list[str]:
    """Medians, with whatever else was noted."""
    shown = ("intervals", "ratio", "driver_ms", "buses", "limits", "participants", "failed", "fallback", "solver")
    names = [n for n in shown if any(n in r["extra_info"] for r in results)]
    rows = []
    for r in results:
        extra = [_text(r["extra_info"].get(n)) for n in names]
        rows.append([label(r), milliseconds(r["stats"]["median"]), str(r["stats"]["rounds"]), *extra])
    return table(["subject", "median, ms", "rounds", *(n.replace("_", " ") for n in names)], rows)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def machine(document: dict[str, Any]) -> str:
    """Cores, Python and versions; nothing that names the machine."""
    info = document["machine_info"]
    cpu = info.get("cpu", {})
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    model = cpu.get("brand_raw") or info.get("machine", "")
    return f"{cpu.get('count', '?')} cores ({model}), Python {info['python_version']}; {', '.join(found)}."


def report(paths: list[Path]) -> str:
    """All tables."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    groups: dict[str, list[Result]] = defaultdict(list)
    for document in documents:
        for result in document["benchmarks"]:
            groups[result["group"] or "other"].append(result)
    lines = [machine(documents[0]), ""]
    for group, results in groups.items():
        raced = group.startswith("race") or group == "ieee123"
        lines += [f"### {group}", "", *(race if raced else plain)(results)]
        if group == "year":
            total = sum(r["stats"]["median"] for r in results)
            lines += [f"Sum of {len(results)}: {total:.0f} s.", ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Put the tables between the markers of the README."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    new = f"{before}{BEGIN}\n\n{report([Path(a) for a in arguments])}\n{END}{after}"
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
