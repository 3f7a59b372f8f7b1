"""Why the linear model of the IEEE feeders is off: its error with one cause after the other put right.

PYTHONPATH=tests/helpers python -m benchmarks.imports.linear_errors

Loads as the files' own models have them, times 1, 1/2 and -1/2 (as export). The AC power flow is that of the feeder's
three wires, which agrees with OpenDSS (docs/importers.md). "Losses" and "shunts" put the losses of the AC solution, and
what shunts give at its voltages, into the linear model; what is left then are voltages that are not balanced, where the
model takes mutual impedances between balanced ones.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import splu

from amm_opt.importers import from_opendss
from amm_opt.network import Lossy
from amm_opt.network.losses.laws import Laws
from tests.importers.opendss.feeders.test_ieee_feeders import DATA, injections

COLUMNS = ("linear", "shunts right", "losses right", "both right", "lossy")


def errors(name: str, scale: float) -> list[float]:
    """Largest errors of voltages in pu, in the order of ``COLUMNS``."""
    feeder = (network := from_opendss(DATA / f"{name}.dss", load_voltage_pu="solved")).feeder
    model, p, q = injections(network)
    p, q = scale * p, scale * q
    laws, v = Laws.of_phases(feeder).of_nodes(), model.power_flow(p, q)
    drawn = -np.conj((p + 1j * q) / v) - np.conj(laws.shunt) * v
    losses = laws.lost(splu(laws.down.conj().T.tocsc()).solve(drawn))
    shunts = laws.beyond_nominal(np.abs(v))
    p_estimated, q_estimated = Lossy(feeder).left_out(p, q)
    more = (0.0, shunts, losses, losses + shunts, p_estimated + 1j * q_estimated)
    return [float(np.abs(model.state(p + np.real(m), q + np.imag(m)).v_pu - np.abs(v)).max()) for m in more]


def main() -> None:
    """Print the table."""
    print("| feeder | loads times | " + " | ".join(COLUMNS) + " |")
    print("|---|---:|" + "---:|" * len(COLUMNS))
    for name in ("ieee13", "ieee34", "ieee37", "ieee123"):
        for scale in (1.0, 0.5, -0.5):
            found = " | ".join(f"{e:.4f}" for e in errors(name, scale))
            print(f"| {name.removeprefix('ieee')} | {scale:g} | {found} |")


if __name__ == "__main__":
    main()
