"""Taps that differ between phases: by hand, turned round, and what refuses them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from amm_opt.errors import InputError
from amm_opt.network import ACNetwork, Feeder, LinDist3Flow

TAPS = np.array([0.96, 1.0, 1.05])
Z = np.array([[0.2, 0.05, 0.04], [0.05, 0.21, 0.03], [0.04, 0.03, 0.22]])


def lower(z: np.ndarray) -> str:
    return " | ".join(" ".join(repr(float(v)) for v in row[: i + 1]) for i, row in enumerate(z))


def feeder(turned: bool = False, phases: str = "abc", **columns: object) -> Feeder:
    buses = pd.DataFrame(
        {
            "name": ["s", "a", "b"],
            "vn_kv": 12.0,
            "v_min_pu": 0.9,
            "v_max_pu": 1.1,
            "v_source_pu": [1.02, np.nan, np.nan],
        }
    ).assign(phases=phases)
    z = Z[: len(phases), : len(phases)]
    branches = pd.DataFrame(
        {"name": ["reg", "line"], "from_bus": ["s", "a"], "to_bus": ["a", "b"], "kind": ["transformer", "line"]}
    )
    branches["r_ohm"], branches["x_ohm"] = lower(z), lower(2 * z)
    branches["tap"], branches["phase_taps"] = [1.25, 1.0], [" ".join(str(t / 1.25) for t in TAPS), None]
    if turned:
        # Referred to the other side, an impedance between phases i and j is tap_i tap_j times as large.
        branches.loc[0, ["from_bus", "to_bus", "tap"]] = ["a", "s", 1 / 1.25]
        branches.loc[0, "phase_taps"] = " ".join(repr(float(1.25 / t)) for t in TAPS)
        branches.loc[0, ["r_ohm", "x_ohm"]] = [lower(Z * np.outer(TAPS, TAPS)), lower(2 * Z * np.outer(TAPS, TAPS))]
    return Feeder.from_tables(buses, branches.assign(**columns))


def test_without_load_each_phase_has_its_own_ratio() -> None:
    assert feeder().phase_tap == pytest.approx(np.array([[1.0] * 3, TAPS, [1.0] * 3]))
    model = LinDist3Flow(feeder())
    v = np.abs(model.power_flow(np.zeros(9), np.zeros(9)))
    assert v[model.bus == 2] == pytest.approx(1.02 / TAPS)


@pytest.mark.parametrize("turned", [False, True])
def test_under_load_currents_and_voltages_fit_by_hand(turned: bool) -> None:
    """Kirchhoff's laws in volts and amperes, phase by phase, at the solution."""
    model = LinDist3Flow(feeder(turned))
    p = np.where(model.bus == 2, [-900.0] * 3 + [-400.0] * 3 + [-700.0] * 3, 0.0)
    v = model.power_flow(p, 0.4 * p).reshape(3, 3) * 12000 / np.sqrt(3)
    load = np.array([-p[model.bus == 2] * (1 + 0.4j) * 1000]).ravel()
    current = np.conj(load / v[:, 2])
    assert v[:, 1] - v[:, 2] == pytest.approx(Z * (1 + 2j) @ current)
    assert v[:, 0] / TAPS - v[:, 1] == pytest.approx(Z * (1 + 2j) @ current)


def test_rows_agree_with_what_is_evaluated_and_power_is_kept() -> None:
    model = LinDist3Flow(feeder()).around(np.full(9, -80.0), np.full(9, -20.0))
    p, q = np.random.default_rng(1).normal(size=(2, 9)) * 100
    a_p, a_q, constant = model.rows(np.arange(len(model.limits.values(*[np.ones(9)] * 3))))
    assert a_p @ p + a_q @ q + constant == pytest.approx(model.evaluate(p, q))


def test_the_turned_feeder_is_the_same() -> None:
    one, other = feeder(), feeder(turned=True)
    assert one.phase_tap == pytest.approx(other.phase_tap)
    assert np.allclose(one.z_ohm[1], other.z_ohm[1])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"phase_taps": "1 1.1"},
            "branch 'reg': phase_taps = '1 1.1' must be a text with one positive number per phase",
        ),
        ({"phase_taps": "1 1.1 x"}, "must be a text with one positive number per phase (a b c)"),
        ({"phase_taps": "1 1.1 -1"}, "must be a text with one positive number per phase (a b c)"),
        ({"phase_taps": 1.1}, "must be a text with one positive number per phase (a b c)"),
        ({"phase_taps": "1 1 5"}, "tap = 1.25 times phase_taps must be a ratio near 1"),
        ({"vector_group": ["Dyn11", "YNyn0"]}, "branch 'reg': phase_taps needs a YNyn0 branch on several phases"),
    ],
)
def test_what_cannot_be_is_refused(columns: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        feeder(**columns)
    assert any(words in said for said in caught.value.problems), caught.value.problems


def test_balanced_branches_have_none() -> None:
    with pytest.raises(
        InputError, match="branch 'reg': phase_taps needs a YNyn0 branch on several phases; here use tap"
    ):
        feeder(phases="pos", phase_taps="1.1", r_ohm=0.1, x_ohm=0.1)


def test_the_power_flow_of_another_tool_refuses_them() -> None:
    with pytest.raises(InputError, match=r"transformer .reg.: its phases must have one tap, but have 0\.96 1 1\.05"):
        ACNetwork(feeder(r_ohm=lower(np.eye(3)), x_ohm=lower(np.eye(3))))
