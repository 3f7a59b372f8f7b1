"""The 15-bus feeder of Mieth and Dvorkin (arXiv 1905.07526) as a case, in MW and per MWh / 1000.

Data: mieth-robert/DLMP_uncertainty_CodeSupplement, folder data/feeder_data/feeder15, every number as it stands.
Reactive power of generators is a decision there. Here a device per generator and sign gives it: its import and export
are equal, so that active power cancels, and their power factors of 0.1 and -0.1 add up.
"""

from functools import cached_property

import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.network.models.limits import Limits
from formulations import LMP

# bus, parent, r, x, s_max, d_P, d_Q
ROWS = np.array(
    [
        (2, 1, 0.0010, 0.1200, 2, 0.7936, 0.1855),
        (3, 2, 0.0883, 0.1262, 0.256, 0, 0),
        (4, 3, 0.1384, 0.1978, 0.256, 0.0201, 0.0084),
        (5, 4, 0.0191, 0.0273, 0.256, 0.0173, 0.0043),
        (6, 5, 0.0175, 0.0251, 0.256, 0.0291, 0.0073),
        (7, 6, 0.0482, 0.0689, 0.256, 0.0219, 0.0055),
        (8, 9, 0.0523, 0.0747, 0.256, -0.1969, 0.0019),
        (9, 4, 0.0407, 0.0582, 0.256, 0.0235, 0.0059),
        (10, 9, 0.0100, 0.0143, 0.256, 0.0229, 0.0142),
        (11, 10, 0.0241, 0.0345, 0.256, 0.0217, 0.0065),
        (12, 11, 0.0103, 0.0148, 0.256, 0.0132, 0.0033),
        (13, 1, 0.0010, 0.1200, 1, 0.6219, 0.1291),
        (14, 13, 0.1559, 0.1119, 0.204, 0.0014, 0.0008),
        (15, 14, 0.0953, 0.0684, 0.204, 0.0224, 0.0083),
    ]
)
BUS, PARENT = ROWS[:, 0].astype(int), ROWS[:, 1].astype(int)
R, X, S_MAX, D_P, D_Q = ROWS[:, 2:].T
GENERATORS = {"g2": 12, "g3": 7}
SOURCE_PRICE, C, K, P_MAX, Q_MAX = 50.0, 10.0, 5.0, 0.8, 0.4
"""Costs are 50 g1 + sum of 10 g + 5 g^2."""
SIDES = np.array([[1, 0.2679], [1 / 1.366, 1 / 1.366], [0.2679, 1]])
PF = 0.1


class TwelveSides(ao.LinDistFlow):
    """The supplement's polygon of 12 rows a1 P + a2 Q <= a3 s in place of ours."""

    name = "twelve sides"

    @cached_property
    def limits(self) -> Limits:
        normals = np.vstack([SIDES, SIDES[::-1] * [-1.0, 1.0]])
        bands = (self.bus, self.v_min_pu, self.v_max_pu)
        return Limits.of(*bands, self.branch, self.rating_kva, self.metered, normals)


class Reactive(LMP):
    """Nodal prices where devices give reactive power: they draw what they inject."""

    def program(self, grid: ao.Grid) -> ao.Program:
        made = super().program(grid)
        devices = [i for i, name in enumerate(grid.case.participant_names) if name.startswith("q")]
        power = dict(made.values)
        cancel = power["import"][devices] == power["export"][devices]
        return ao.Program(made.objective, [*made.constraints, cancel], made.injections, power)


def case(v_max: float = 1.1, shift: dict[int, float] | None = None) -> ao.Case:
    """The feeder with an upper limit of voltage at buses 5 to 15, and consumption that is changed by bus."""
    d_p = D_P + np.array([(shift or {}).get(bus, 0.0) for bus in BUS.tolist()])
    buses = pd.DataFrame({"name": ["1", *map(str, BUS)], "vn_kv": 1.0, "v_min_pu": 0.9})
    buses["v_max_pu"] = [1.1, *np.where(BUS >= 5, v_max, 1.1)]
    buses["v_source_pu"] = [1.0] + [np.nan] * len(BUS)
    branches = pd.DataFrame(
        {"name": [f"to {b}" for b in BUS], "from_bus": PARENT.astype(str), "to_bus": BUS.astype(str)}
    )
    branches = branches.assign(r_ohm=R, x_ohm=X, rating_kva=1e3 * S_MAX)
    loads = pd.DataFrame({"name": [f"load {b}" for b in BUS], "bus": BUS.astype(str), "inflexible_kvar": 1e3 * D_Q})
    people = [*loads.to_dict("records")]
    series = [(f"load {b}", "inflexible", 1e3 * d) for b, d in zip(BUS, d_p, strict=True) if d]
    size_kw = 1e3 * Q_MAX / (2 * np.sqrt(1 / PF**2 - 1))
    for name, bus in GENERATORS.items():
        people.append({"name": name, "bus": str(bus), "export_offer": C / 1e3, "export_offer_slope": 2 * K / 1e6})
        series.append((name, "export", 1e3 * P_MAX))
        for sign in (1, -1):
            factors = {"power_factor_export": sign * PF, "power_factor_import": -sign * PF}
            people.append(
                {"name": f"q{sign} {name}", "bus": str(bus), "import_value": 0.0, "export_offer": 0.0, **factors}
            )
            series += [(f"q{sign} {name}", "import", size_kw), (f"q{sign} {name}", "export", size_kw)]
    return ao.from_tables(
        name="feeder15",
        buses=buses,
        branches=branches,
        participants=pd.DataFrame(people).assign(connection_import_kw=np.inf, connection_export_kw=np.inf),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="1h"), "one": 1.0}),
        series=pd.DataFrame(series, columns=["participant", "quantity", "scale_kw"]).assign(profile="one"),
    )


def priced(v_max: float = 1.1, shift: dict[int, float] | None = None) -> ao.PriceParts:
    """Its prices."""
    return ao.price_parts(case(v_max, shift), Reactive(source_price=SOURCE_PRICE / 1e3), 0, network=TwelveSides)


def objective(parts: ao.PriceParts, shift: dict[int, float] | None = None) -> float:
    """50 g1 + sum of 10 g + 5 g^2, per unit."""
    g = parts.solution["export"][-6::3] / 1e3
    source = D_P.sum() + sum((shift or {}).values()) - g.sum()
    return float(SOURCE_PRICE * source + C * g.sum() + K * (g**2).sum())
