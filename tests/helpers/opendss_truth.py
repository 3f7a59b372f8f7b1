"""OpenDSS as the judge: four-wire AC voltages of a file, through opendssdirect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import opendssdirect as engine

LEFT_OUT = ("solve", "export", "batchedit", "clear", "show", "plot", "!")


class UnsolvedError(AssertionError):
    """OpenDSS finds no solution."""


@dataclass(frozen=True)
class Truth:
    """Complex node voltages in V by ``bus.node``, and the source's power in kW and kvar."""

    volts: dict[str, complex]
    source_kw: float
    source_kvar: float

    def phase_neutral(self, bus: str, node: int, neutral: int = 0) -> complex:
        """Voltage of a node against another one of its bus, or ground."""
        below = self.volts[f"{bus.lower()}.{neutral}"] if neutral else 0.0
        return self.volts[f"{bus.lower()}.{node}"] - below


def solve(master: Path, commands: Iterable[str] = (), frequency: float = 50.0) -> Truth:
    """Solve a master file with constant power loads, after further commands."""
    here = Path.cwd()
    engine.Basic.ClearAll()
    engine.Basic.AllowForms(False)
    engine.Text.Command(f"set defaultbasefrequency={frequency}")
    try:
        engine.Text.Command(f'cd "{master.parent}"')
        for line in master.read_text().splitlines():
            if line.strip() and not line.strip().lower().startswith(LEFT_OUT):
                engine.Text.Command(line)
        for command in (*commands, "set maxiterations=500", "set tolerance=1e-9"):
            engine.Text.Command(command)
        engine.Solution.Solve()
        if not engine.Solution.Converged():
            raise UnsolvedError(str(master))
    finally:
        engine.Text.Command(f'cd "{here}"')
    flat = np.array(engine.Circuit.AllBusVolts())
    volts = dict(zip(engine.Circuit.AllNodeNames(), flat[::2] + 1j * flat[1::2], strict=True))
    p, q = engine.Circuit.TotalPower()
    return Truth(volts, -p, -q)
