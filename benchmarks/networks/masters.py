"""Imports every OpenDSS master under a folder and holds it against OpenDSS: the table of docs/importers-opendss.md.

python benchmarks/networks/masters.py FOLDER [part of a path] > table.md

Masters are files that make a circuit. OpenDSS solves each twice, without the file's own solves: with taps as its
statements leave them, and with its regulator controls. Capacitors stand as they are, and plants are off.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import opendssdirect as engine

import amm_opt as ao
from amm_opt.importers import ImportedNetwork, from_opendss
from amm_opt.importers.opendss.prepared.sources import BEHIND, JOINT
from amm_opt.network import LinDist3Flow

RUNS = re.compile(r"^\s*(solve|show|export|plot|visualize|buscoords|latlongcoords|closedi|dump|save)\b", re.IGNORECASE)
CIRCUIT = re.compile(r"^\s*new\s+(object\s*=\s*)?\"?circuit\.", re.IGNORECASE | re.MULTILINE)
OFF = [f"batchedit {kind}..* enabled=no" for kind in ("capcontrol", "generator", "pvsystem", "storage")]
read = partial(from_opendss, ratings=400, load_voltage_pu="solved")  # A where the file has none
PRECISE = ["set maxiterations=500 maxcontroliter=200 tolerance=1e-9", "solve mode=snap"]


def main(folder: Path, part: str = "") -> None:
    """Print a row per master."""
    print("| master | buses | taps as stated | regulators at set points | linear |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as copy:
        silent = Path(shutil.copytree(folder, Path(copy) / "silent"))
        files = [p for p in silent.rglob("*") if p.suffix.lower() in (".dss", ".txt")]
        for file in files:  # without solves, and with names of files as they are written, as OpenDSS wants on Linux
            text = file.read_text(encoding="utf-8", errors="replace")
            for name in (p.name for p in files if p.parent == file.parent):
                text = re.sub(rf"(?<![\w-]){re.escape(name)}\b", name, text, flags=re.IGNORECASE)
            file.write_text("\n".join("" if RUNS.match(x) else x for x in text.splitlines()), encoding="utf-8")
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".dss" and part in str(p)):
            if CIRCUIT.search(path.read_text(encoding="utf-8", errors="replace")):
                print(row(path, silent / path.relative_to(folder), path.relative_to(folder)), flush=True)


def row(path: Path, silent: Path, name: Path) -> str:
    """What becomes of one master."""
    try:
        stated = read(path)
    except ao.InputError as error:
        return f"| `{name}` | | {refusal(error)} | | |"
    cells = [str(stated.feeder.n_buses), errors(stated, silent, "set controlmode=off")[0]]
    try:
        cells += errors(read(path, regulators="set_point"), silent, "set controlmode=static")
    except ao.InputError as error:
        cells += [refusal(error), ""]
    return f"| `{name}` | {' | '.join(cells)} |"


def refusal(error: ao.InputError) -> str:
    """The first problem, as far as a table has room."""
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    return f"refused: {textwrap.shorten(error.problems[0], 160, placeholder=' ...')}{more}".replace("|", "\\|")


def errors(network: ImportedNetwork, path: Path, control: str) -> tuple[str, str]:
    """Largest errors in pu of the power flow and of the linear model, over all phases of all buses."""
    truth, feeder, people = solved(path, control), network.feeder, network.customers
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
    """Voltages here and in OpenDSS, in pu: to neutral, or between phases where OpenDSS has no ground there."""
    for b in np.unique(model.bus):
        name, own = model.feeder.bus_names[b].lower(), np.flatnonzero(model.bus == b)
        if name.startswith(BEHIND) or name == JOINT:
            continue
        volts, base = truth[name], model.feeder.vn_kv[b] * 1000 / 3**0.5
        nodes = {int(phases[i]) + 1: complex(u[i]) for i in own}
        if not set(nodes) <= set(volts) or (len(nodes) == 1 and set(volts) == {1, 2}):  # the halves of a service
            yield abs(u[own[0]]), abs(volts[1] - volts[2]) / 2 / base
            continue
        neutral = volts.get(4, 0.0)
        apart = abs(sum(volts[n] - neutral for n in nodes) / base - sum(nodes.values()))
        if len(nodes) == 3 and apart > 1e-5 and (apart > 0.01 or ungrounded(name)):
            ends = ((1, 2), (2, 3), (3, 1))
            yield from ((abs(nodes[i] - nodes[k]) / 3**0.5, abs(volts[i] - volts[k]) / base / 3**0.5) for i, k in ends)
        else:
            yield from ((abs(v), abs(volts[n] - neutral) / base) for n, v in nodes.items())


def ungrounded(bus: str) -> bool:
    """Whether OpenDSS has no way to ground at a bus but for capacitances."""
    engine.Circuit.SetActiveBus(bus)
    engine.Bus.ZscRefresh()
    zero, first = engine.Bus.Zsc0(), engine.Bus.Zsc1()
    return abs(complex(*zero)) > 1000 * abs(complex(*first))


def solved(path: Path, control: str) -> dict[str, dict[int, complex]] | None:
    """Voltages in V by bus and node; None where OpenDSS cannot read the file, or finds no solution."""
    here = Path.cwd()
    engine.Basic.AllowForms(False)
    try:
        for command in ("clearall", "set defaultbasefrequency=60", f'compile "{path}"', *OFF, control, *PRECISE):
            engine.Text.Command(command)
    except engine.DSSException as error:
        print(f"OpenDSS on {path.name}: {error}", file=sys.stderr)
        return None
    finally:
        engine.Text.Command(f'cd "{here}"')
    if not engine.Solution.Converged():
        return None
    flat = np.array(engine.Circuit.AllBusVolts())
    volts: dict[str, dict[int, complex]] = {}
    for name, v in zip(engine.Circuit.AllNodeNames(), flat[::2] + 1j * flat[1::2], strict=True):
        bus, _, node = name.rpartition(".")
        volts.setdefault(bus.lower(), {})[int(node)] = complex(v)
    return volts


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
