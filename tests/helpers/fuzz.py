"""Mutations of valid input must end in success or InputError; ``python -m tests.helpers.fuzz 20000`` tries many."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import amm_opt as ao
from tests.cases.test_cases import good, tiny
from tests.helpers.fuzz_values import CELLS, DSS, KINDS, MATPOWER, TOKENS

AUSGRID_DAYS = 2


def mutated_text(rng: random.Random, text: str) -> str:
    """A text with one to four changes of letters, words, numbers or lines."""
    for _ in range(rng.randint(1, 4)):
        lines = text.splitlines(keepends=True)
        at, place = rng.randrange(len(text) + 1), rng.randrange(max(len(lines), 1))
        how = rng.randrange(7)
        if how == 0:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif how == 2 and lines:
            text = "".join([*lines[:place], rng.choice(lines), *lines[place:]])
        elif how == 3 and lines:
            text = "".join(lines[:place] + lines[place + 1 :])
        elif how == 4 and lines:
            words = lines[place].split(" ")
            words[rng.randrange(len(words))] = rng.choice(TOKENS)
            text = "".join([*lines[:place], " ".join(words), *lines[place + 1 :]])
        elif how == 5:
            digits = [i for i, letter in enumerate(text) if letter.isdigit()]
            if digits:
                i = rng.choice(digits)
                text = text[:i] + rng.choice(("0", "-1", "1e9", "99999", ".", "1e-9", "9")) + text[i + 1 :]
        else:
            text = text[:at] if rng.random() < 0.3 else text.swapcase() if rng.random() < 0.2 else text + text[at:]
    return text


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bytes with some changed, cut out or repeated."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        how = rng.randrange(4)
        if how == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif how == 1:
            del data[at : at + rng.randint(1, 40)]
        elif how == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        else:
            data = data[: at or 1]
    return bytes(data)


def mutated_table(rng: random.Random, table: pd.DataFrame) -> pd.DataFrame:
    """A table with one to three changes of cells, rows, columns or their kinds, as far as pandas can make them."""
    for _ in range(rng.randint(1, 3)):
        try:
            table = _changed(rng, table) if len(table) and len(table.columns) else table
        except Exception:
            continue
    return table


def _changed(rng: random.Random, table: pd.DataFrame) -> pd.DataFrame:
    column, row, how = rng.randrange(len(table.columns)), rng.randrange(len(table)), rng.randrange(10)
    name = table.columns[column]
    if how <= 4:
        cells = list(table.iloc[:, column])
        cells[row] = rng.choice(CELLS)
        table = table.copy()
        table.isetitem(column, pd.Series(cells, dtype=object, index=table.index))
        return table
    if how == 5:
        return table.drop(columns=name) if row % 2 else pd.concat([table, table.iloc[:, [column]]], axis=1)
    if how == 6:
        return table.drop(index=table.index[row]) if row % 2 else table.iloc[[*range(len(table)), row]]
    if how == 7:
        new = rng.choice(("x", 5, "", None, "time"))
        return table.set_axis([new if i == column else c for i, c in enumerate(table.columns)], axis=1)
    if how == 8:
        return table.assign(**{str(name): table.iloc[:, column].astype(rng.choice(KINDS))})
    if row % 2:
        return table.assign(**{str(name): rng.choice(CELLS[:24])})
    return table.iloc[:0] if column % 2 else table.sample(frac=1, random_state=row)


def _used(case: ao.Case) -> None:
    assert len(case.fingerprint) == 64
    case.requests(0, min(2, case.n_steps))


def fuzz_tables(rng: random.Random) -> None:
    tables = good()
    for _ in range(rng.randint(1, 2)):
        which = rng.choice([key for key in tables if key != "name"])
        tables[which] = mutated_table(rng, tables[which]) if rng.random() < 0.97 else rng.choice(CELLS)
    if rng.random() < 0.1:
        tables[rng.choice(("name", "title", "steps", "step_minutes", "timezone", "scenario"))] = rng.choice(CELLS)
    _used(ao.from_tables(**tables))


class Folders:
    """A stored case, run and comparison, copied for every mutation."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="fuzz-"))
        ao.save_case(tiny(), self.root / "case")
        ao.compare(tiny(), ["amm", "no_control"], steps=4).save(self.root / "out")

    def fuzz_case(self, rng: random.Random) -> None:
        _used(ao.load_case(self._mutated(rng, "case")))

    def fuzz_run(self, rng: random.Random) -> None:
        folder = self._mutated(rng, "out")
        if rng.random() < 0.5:
            ao.open_comparison(folder)
        else:
            ao.open_run(folder / "amm")

    def _mutated(self, rng: random.Random, name: str) -> Path:
        copy = self.root / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.root / name, copy)
        path = rng.choice(sorted(p for p in copy.rglob("*") if p.is_file()))
        if path.suffix in ("", ".parquet") or rng.random() < 0.2:
            path.write_bytes(mutated_bytes(rng, path.read_bytes()))
        else:
            path.write_bytes(mutated_text(rng, path.read_text()).encode(errors="surrogatepass"))
        return copy

    def fuzz_dss(self, rng: random.Random) -> None:
        path = self.root / "master.dss"
        path.write_bytes(mutated_text(rng, DSS).encode(errors="surrogatepass"))
        ao.from_opendss(path)

    def fuzz_matpower(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            ao.from_matpower(mutated_text(rng, MATPOWER))
        else:
            path = self.root / "case.m"
            path.write_bytes(mutated_text(rng, MATPOWER).encode(errors="surrogatepass"))
            ao.from_matpower(path)

    def fuzz_ausgrid(self, rng: random.Random) -> None:
        path = self.root / "homes.csv"
        path.write_bytes(mutated_text(rng, _ausgrid()).encode(errors="surrogatepass"))
        ao.read_ausgrid(path)


def _ausgrid() -> str:
    hours = ",".join([*[f"{h}:{m:02d}" for h in range(24) for m in (0, 30)][1:], "0:00"])
    rows = [
        f"{customer},{category},{day}/07/2012," + ",".join(["0.1"] * 48)
        for customer in (1, 2)
        for category in ("GC", "GG")
        for day in range(1, AUSGRID_DAYS + 1)
    ]
    return "\n".join([f"Customer,Consumption Category,date,{hours}", *rows, ""])


ARGUMENTS: tuple[Any, ...] = (
    *CELLS,
    "amm",
    "two",
    "verify",
    "persistence",
    -3,
    slice(1, 2),
    slice("2030", None),
    lambda *a: a,
)
OPTIONS = ("network", "solver", "steps", "workers", "ac", "forecast", "defer", "tiers", "columns", "progress")
NAMES = (*OPTIONS, "mechanism", "case")
SMALL = tiny()


def fuzz_arguments(rng: random.Random) -> None:
    """Arguments of a run; nothing is run where one is wrong, and those that are right are not run here."""
    from amm_opt.simulation.options import Options, settled

    usual = {"network": None, "solver": None, "steps": None, "workers": 1, "ac": None, "forecast": None, "defer": False}
    given: dict[str, Any] = {**usual, "tiers": "joint", "case": SMALL, "mechanism": "amm"}
    for name in rng.sample(NAMES, rng.randint(1, 2)):
        given[name] = rng.choice(ARGUMENTS)
    settled(given.pop("case"), given.pop("mechanism"), Options(**given))


EDITS: dict[str, dict[str, Any]] = {
    "with_ratings": {"factor": 2.0, "kind": "line", "tier": "LV", "names": ["line"]},
    "with_uptake": {"ev": 0.5, "pv": 0.5, "battery": 0.5, "heat_pump": 0.5, "seed": 1, "latitude_deg": 1.0},
    "repeat": {"count": 2, "steps": None},
    "resample": {"minutes": 60},
    "with_profiles": {"profiles": good()["profiles"], "quantity": None},
}


def fuzz_edits(rng: random.Random) -> None:
    """Arguments of the edits of a case, and tables in place of its own."""
    edit = rng.choice([*EDITS, "with_tables"])
    given = dict(EDITS.get(edit, {}))
    for name in rng.sample(sorted(given), min(len(given), rng.randint(1, 2))):
        given[name] = rng.choice(ARGUMENTS)
    if edit.endswith(("tables", "profiles")):
        name = "profiles" if edit == "with_profiles" else rng.choice(sorted(SMALL.tables()))
        given[name] = mutated_table(rng, SMALL.tables()[name]) if rng.random() < 0.8 else rng.choice(ARGUMENTS)
    _used(getattr(SMALL, edit)(**given))


def fuzz_mechanisms(rng: random.Random) -> None:
    """Parameters of mechanisms and scenarios, and specs."""
    import formulations
    from amm_opt.registry import mechanism, mechanisms

    if rng.random() < 0.5:
        kinds = [getattr(formulations, name) for name in formulations.__all__] + [
            ao.Scenario,
            ao.YearScenario,
            ao.PriceCurve,
        ]
        kind = rng.choice(kinds)
        names = list(kind.__dataclass_fields__)
        kind(**{rng.choice([*names, "x"]): rng.choice(CELLS) for _ in range(rng.randint(1, 2))})
    else:
        mechanism(
            mutated_text(
                rng, rng.choice([*mechanisms(), "amm:kappa=2,rho=0", "fot:window=2", "amm:envelope=equal_doe"])
            )
        )


def targets() -> dict[str, Callable[[random.Random], None]]:
    """Every target by name."""
    folders = Folders()
    return {
        "tables": fuzz_tables,
        "folder": folders.fuzz_case,
        "run": folders.fuzz_run,
        "opendss": folders.fuzz_dss,
        "matpower": folders.fuzz_matpower,
        "ausgrid": folders.fuzz_ausgrid,
        "arguments": fuzz_arguments,
        "edits": fuzz_edits,
        "mechanisms": fuzz_mechanisms,
    }


def attempt(target: Callable[[random.Random], None], seed: int) -> None:
    """One mutation; anything but success and InputError is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            target(random.Random(seed))
        except ao.InputError:
            return


def main(count: int, first: int, names: list[str]) -> None:
    """Run many mutations and print every kind of foreign error once."""
    for name, target in targets().items():
        if names and name not in names:
            continue
        seen: Counter[str] = Counter()
        for seed in range(first, first + count):
            try:
                attempt(target, seed)
            except Exception as error:
                where = [
                    f
                    for f in traceback.extract_tb(error.__traceback__)
                    if "amm_opt" in f.filename or "formulations" in f.filename
                ]
                spot = f"{Path(where[-1].filename).name}:{where[-1].lineno}" if where else "?"
                key = f"{type(error).__name__} at {spot}"
                seen[key] += 1
                if seen[key] == 1:
                    print(f"{name} seed {seed}: {key}: {str(error)[:150]!r}", flush=True)
        print(f"{name}: {count} mutations, {sum(seen.values())} foreign errors of {len(seen)} kinds", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[3:])
