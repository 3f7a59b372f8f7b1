"""Imports every OpenDSS master under a folder and holds it against OpenDSS, for the table of docs/importers-opendss.md.

PYTHONPATH=tests/helpers python benchmarks/networks/masters.py FOLDER [part of a name]

Masters are files that make a circuit, by themselves or by what they redirect to. Each is solved by OpenDSS twice: with
taps as its statements leave them, and with its regulator controls; capacitors stand as they are and plants are off.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import opendssdirect as engine

import amm_opt as ao
from amm_opt.importers import ImportedNetwork, from_opendss
from amm_opt.importers.opendss.prepared.sources import BEHIND, JOINT
from amm_opt.network import LinDist3Flow

RUNS = re.compile(
    r"^\s*(solve|show|export|plot|visualize|buscoords|latlongcoords|closedi|help|about|dump|save)\b", re.I
)
CIRCUIT = re.compile(r"^\s*(new\s+(object\s*=\s*)?\"?circuit\.)", re.I | re.M)
OFF = [f"batchedit {kind}..* enabled=no" for kind in ("capcontrol", "generator", "pvsystem", "storage", "invcontrol")]


def main(folder: Path, part: str = "") -> None:
    """Print a row per master."""
    warnings.simplefilter("ignore")
    print(
        "| master | buses | taps as stated | regulators at set points | linear | seconds |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as copy:
        silent = Path(shutil.copytree(folder, Path(copy) / "silent"))
        files = [p for p in silent.rglob("*") if p.suffix.lower() in (".dss", ".txt")]
        for file in files:
            text = file.read_text(errors="replace")
            for other in (p.name for p in files if p.parent == file.parent):
                text = re.sub(rf"(?<![\w-]){re.escape(other)}\b", other, text, flags=re.I)
            file.write_text("\n".join("" if RUNS.match(x) else x for x in text.splitlines()))
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".dss" and part in str(p)):
            if CIRCUIT.search(path.read_text(errors="replace")):
                print(row(path, silent / path.relative_to(folder), path.relative_to(folder)), flush=True)


def row(path: Path, silent: Path, name: Path) -> str:
    """What becomes of one master."""
    began = time.perf_counter()
    try:
        stated = from_opendss(path, ratings=400, load_voltage_pu="solved")
    except ao.InputError as error:
        return f"| `{name}` | | refused: {' / '.join(error.problems[:4])} | | | {time.perf_counter() - began:.1f} |"
    seconds = time.perf_counter() - began
    cells = [errors(stated, silent, "set controlmode=off")[0]]
    try:
        held = from_opendss(path, ratings=400, load_voltage_pu="solved", regulators="set_point")
        cells += errors(held, silent, "set controlmode=static")
    except ao.InputError as error:
        cells += [f"refused: {error.problems[0]}", ""]
    return f"| `{name}` | {stated.feeder.n_buses} | {' | '.join(cells)} | {seconds:.1f} |"


def errors(network: ImportedNetwork, path: Path, *commands: str) -> tuple[str, str]:
    """Largest errors in pu of the power flow and of the linear model, over all phases of all buses."""
    truth, feeder, people = solved(path, *commands), network.feeder, network.customers
    if truth is None:
        return "no solution in OpenDSS", ""
    model = LinDist3Flow(feeder)
    at = model.incidence(np.array([feeder.bus_index[b] for b in people["bus"]], dtype=int), tuple(people["phases"]))
    p, q = (-(at @ people[c].to_numpy(float)) for c in ("kw", "kvar"))
    phases = np.zeros(len(model.bus), int) if model.phase is None else model.phase
    ours = model.power_flow(p, q), model.state(p, q).v_pu * np.exp(-2j * np.pi / 3 * phases)
    far = [max(abs(a - b) for a, b in pairs(model, phases, u, truth)) for u in ours]
    return f"{far[0]:.1e}", f"{far[1]:.3f}"


def pairs(
    model: LinDist3Flow, phases: np.ndarray, u: np.ndarray, truth: dict[str, dict[int, complex]]
) -> Iterator[tuple[float, float]]:
    """Voltage of each node here and in OpenDSS, in pu; between phases where OpenDSS has them without ground."""
    for b in np.unique(model.bus):
        own = np.flatnonzero(model.bus == b)
        name = model.feeder.bus_names[b].lower()
        if name.startswith(BEHIND) or name == JOINT:
            continue
        volts, base = truth[name], model.feeder.vn_kv[b] * 1000 / 3**0.5
        nodes = {int(phases[i]) + 1: u[i] for i in own}
        if not set(nodes) <= set(volts) or (len(nodes) == 1 and set(volts) == {1, 2}):
            yield abs(u[own[0]]), abs(volts[1] - volts[2]) / 2 / base
            continue
        neutral = volts.get(4, 0.0)
        apart = abs(sum(volts[n] - neutral for n in nodes) / base - sum(nodes.values()))
        if len(nodes) == 3 and apart > 0.01:
            yield from (
                (abs(nodes[i] - nodes[k]) / 3**0.5, abs(volts[i] - volts[k]) / base / 3**0.5)
                for i, k in ((1, 2), (2, 3), (3, 1))
            )
        else:
            yield from ((abs(v), abs(volts[n] - neutral) / base) for n, v in nodes.items())


def solved(path: Path, *commands: str) -> dict[str, dict[int, complex]] | None:
    """Voltages in V by bus and node, as OpenDSS solves the file without its own solves."""
    here = Path.cwd()
    engine.Basic.AllowForms(False)
    more = "set maxiterations=500 maxcontroliter=200 tolerance=1e-9", "solve mode=snap"
    for command in ("clearall", "set defaultbasefrequency=60", f'compile "{path}"', *OFF, *commands, *more):
        try:
            engine.Text.Command(command)
        except engine.DSSException as error:
            if command[:5] != "batch":
                print(f"OpenDSS on {path.name}: {error}", file=sys.stderr)
    engine.Text.Command(f'cd "{here}"')
    if not engine.Solution.Converged():
        return None
    flat = np.array(engine.Circuit.AllBusVolts())
    volts: dict[str, dict[int, complex]] = {}
    for name, v in zip(engine.Circuit.AllNodeNames(), flat[::2] + 1j * flat[1::2], strict=True):
        bus, _, node = name.rpartition(".")
        volts.setdefault(bus.lower(), {})[int(node)] = v
    return volts


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
