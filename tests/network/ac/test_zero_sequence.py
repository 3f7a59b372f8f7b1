"""What draws by the zero sequence alone: grounded stars with a delta below, and shunts between phases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from amm_opt.errors import InputError
from amm_opt.network import ACNetwork, Feeder, LinDist3Flow
from amm_opt.network.losses.marginal import MarginalLosses
from amm_opt.network.series.skeleton import skeleton_of

NAN = float("nan")
LINE = {"r_ohm": "0.5 | 0.1 0.5 | 0.1 0.1 0.5", "x_ohm": "0.9 | 0.3 0.9 | 0.3 0.3 0.9"}
UNIT = {"r_ohm": "0.24 | 0 0.24 | 0 0 0.24", "x_ohm": "3 | 0 3 | 0 0 3"}


def tables(group: str = "Dyn1", tap: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A line, a transformer whose delta is below, and a line; a shunt of which a part is between phases."""
    buses = pd.DataFrame({"name": ["s", "a", "b", "c"], "vn_kv": [12.47, 12.47, 4.16, 4.16], "phases": "abc"})
    buses = buses.assign(v_min_pu=0.8, v_max_pu=1.2, v_source_pu=[1.02, NAN, NAN, NAN])
    buses["shunt_kvar"], buses["delta_kvar"] = ["0", "230 210 290", "0", "0"], [0.0, 600.0, NAN, 0.0]
    branches = pd.DataFrame({"name": ["l", "t", "k"], "from_bus": ["s", "b", "b"], "to_bus": ["a", "a", "c"]})
    branches = branches.assign(
        kind=["line", "transformer", "line"], vector_group=["YNyn0", group, "YNyn0"], phases="abc"
    )
    for column in ("r_ohm", "x_ohm"):
        branches[column] = [LINE[column], UNIT[column], LINE[column]]
    return buses, branches.assign(tap=[1.0, tap, 1.0])


P_KW = -np.array([[0, 100, 60, 90], [0, 400, 60, 90], [0, 30, 60, 80.0]]).ravel()


@pytest.mark.parametrize("group", ["Dyn1", "Dyn11", "Dy1", "Dy11"])
@pytest.mark.parametrize("tap", [1.0, 1.04])
def test_power_flow_is_that_of_power_grid_model(group: str, tap: float) -> None:
    feeder = Feeder.from_tables(*tables(group, tap))
    model, truth = LinDist3Flow(feeder), ACNetwork(feeder)
    v = model.power_flow(P_KW, 0.4 * P_KW)
    flow = truth.flow(P_KW, 0.4 * P_KW)
    np.testing.assert_allclose(np.abs(v), flow.v_pu, atol=2e-8)
    around = model.around(P_KW, 0.4 * P_KW)
    np.testing.assert_allclose(around.state(P_KW, 0.4 * P_KW).v_pu, np.abs(v), atol=1e-9)
    per_kw, _, losses = MarginalLosses(feeder).at(P_KW, 0.4 * P_KW)
    assert losses == pytest.approx(flow.loss_kw, rel=2e-4)
    step = np.zeros(12)
    step[5] = 1.0
    less, more = (truth.flow(P_KW + s * step, 0.4 * P_KW).loss_kw for s in (1, -1))
    assert per_kw[5] == pytest.approx((more - less) / 2, rel=1e-3)


def test_a_grounded_star_holds_the_zero_sequence_down() -> None:
    """However low its impedance, as what it draws is solved for; without ground it draws nothing."""
    zero = []
    for group, ohm in (("Dy1", 3.0), ("Dyn1", 3.0), ("Dyn1", 0.03)):
        buses, branches = tables(group)
        branches.loc[1, "x_ohm"] = UNIT["x_ohm"].replace("3", f"{ohm:g}")
        feeder = Feeder.from_tables(buses, branches)
        v = LinDist3Flow(feeder).power_flow(P_KW, 0.4 * P_KW).reshape(3, 4)
        zero.append(abs(v[:, feeder.bus_index["a"]].mean()))
    assert zero[0] > 1.04 * zero[1] > 1.04 * zero[2]
    assert zero[2] < 0.2 * zero[0]


def test_merged_buses_keep_what_is_between_phases() -> None:
    feeder = Feeder.from_tables(*tables())
    skeleton = skeleton_of(feeder, np.array([feeder.bus_index["c"]]), np.zeros(0, dtype=np.intp)).feeder
    assert skeleton.delta_kva.sum() == 600j
    np.testing.assert_allclose(skeleton.star_kva[skeleton.bus_index["a"]], feeder.star_kva[feeder.bus_index["a"]])


@pytest.mark.parametrize(
    ("bus", "given", "said"),
    [
        ("a", "1 2 3", "bus 'a': delta_kvar = '1 2 3' must be a finite number, at a bus on phases abc"),
        ("b", float("inf"), "bus 'b': delta_kvar = inf must be"),
    ],
)
def test_what_is_no_shunt_between_phases_is_named(bus: str, given: object, said: str) -> None:
    buses, branches = tables()
    buses["delta_kvar"] = buses["delta_kvar"].astype(object)
    buses.loc[buses["name"] == bus, "delta_kvar"] = given
    with pytest.raises(InputError) as caught:
        Feeder.from_tables(buses, branches)
    assert said in str(caught.value)
