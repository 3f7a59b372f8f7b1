"""AC power flow on named phases: against the balanced one, and against a fixed point of V = V_s - Z conj(S / V)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import ACNetwork, Feeder

NAN = float("nan")
OWN, MUTUAL = 0.4 + 0.3j, 0.1 + 0.12j


def triangle(values: np.ndarray) -> str:
    return " | ".join(" ".join(repr(float(v)) for v in row[: i + 1]) for i, row in enumerate(values))


def feeder(branches: list[tuple[Any, ...]], buses: dict[str, tuple[float, str]]) -> Feeder:
    """Branches (name, from, to, z, kind, tap, phases) between buses name -> (vn_kv, phases), the source first."""
    table = pd.DataFrame(
        {
            "name": list(buses),
            "vn_kv": [v for v, _ in buses.values()],
            "phases": [p for _, p in buses.values()],
            "v_min_pu": 0.5,
            "v_max_pu": 1.5,
            "v_source_pu": [1.02] + [NAN] * (len(buses) - 1),
        }
    )
    rows = []
    for name, start, stop, z, kind, tap, phases in branches:
        z = np.atleast_2d(z)
        rows.append((name, start, stop, triangle(z.real), triangle(z.imag), kind, tap, phases))
        if z.size == 1:
            rows[-1] = (name, start, stop, float(z.real[0, 0]), float(z.imag[0, 0]), kind, tap, phases)
    columns = ["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "kind", "tap", "phases"]
    return Feeder.from_tables(table, pd.DataFrame(rows, columns=columns))


def matrix(n: int = 3) -> np.ndarray:
    return np.full((n, n), MUTUAL) + (OWN - MUTUAL) * np.eye(n)


def test_balanced_load_is_the_positive_sequence() -> None:
    """z1 = own - mutual; a transformer with a tap between two lines; two intervals at once and one alone."""
    leaky = 0.01 + 0.04j
    three = feeder(
        [
            ("l1", "s", "m", matrix(), "line", 1.0, "abc"),
            ("t", "m", "f", leaky * np.eye(3), "transformer", 0.975, "abc"),
            ("l2", "f", "e", 0.2 * matrix(), "line", 1.0, "abc"),
        ],
        {"s": (20.0, "abc"), "m": (20.0, "abc"), "f": (0.4, "abc"), "e": (0.4, "abc")},
    )
    z1 = OWN - MUTUAL
    one = feeder(
        [
            ("l1", "s", "m", z1, "line", 1.0, "pos"),
            ("t", "m", "f", leaky, "transformer", 0.975, "pos"),
            ("l2", "f", "e", 0.2 * z1, "line", 1.0, "pos"),
        ],
        {"s": (20.0, "pos"), "m": (20.0, "pos"), "f": (0.4, "pos"), "e": (0.4, "pos")},
    )
    p = np.array([[0.0, -3.0, 0.0, -60.0], [0.0, 0.0, 0.0, 30.0]])
    q = np.array([[0.0, -1.0, 0.0, -20.0], [0.0, 0.0, 0.0, 0.0]])
    ac, balanced = ACNetwork(three), ACNetwork(one)
    assert (ac.n_nodes, list(ac.bus), list(ac.phase)) == (12, [0, 1, 2, 3] * 3, [0] * 4 + [1] * 4 + [2] * 4)
    each, whole = ac.flow(np.tile(p / 3, 3), np.tile(q / 3, 3)), balanced.flow(p, q)
    np.testing.assert_allclose(each.v_pu, np.tile(whole.v_pu, 3), atol=1e-7)
    for name in ("p_sent_kw", "q_sent_kvar", "p_received_kw", "q_received_kvar"):
        np.testing.assert_allclose(getattr(each, name), np.tile(getattr(whole, name) / 3, 3), atol=1e-4)
    alone = ac.flow(np.tile(p[0] / 3, 3), np.tile(q[0] / 3, 3))
    np.testing.assert_allclose(alone.v_pu, each.v_pu[0], atol=1e-8)
    assert whole.v_pu[0, 3] < 1.02 / 0.975 - 0.02 < 1.02 / 0.975 + 0.01 < whole.v_pu[1, 3]


def test_mutual_impedance_by_a_fixed_point() -> None:
    """Loads on two phases only, and export on the third, over one line of 0.4 kV."""
    z = matrix() / 10.0
    line = feeder([("l", "s", "e", z, "line", 1.0, "abc")], {"s": (0.4, "abc"), "e": (0.4, "abc")})
    s = np.array([12.0 + 4.0j, 5.0, -8.0])  # kVA drawn on a, b, c
    source = 1.02 * 400 / np.sqrt(3) * np.exp(-2j * np.pi / 3 * np.arange(3))
    v = source.copy()
    for _ in range(200):
        v = source - z @ np.conj(1000.0 * s / v)
    nodes = np.zeros((2, 3))
    nodes[1] = -s.real
    q = np.zeros((2, 3))
    q[1] = -s.imag
    state = ACNetwork(line).flow(nodes.T.ravel(), q.T.ravel())
    np.testing.assert_allclose(state.v_pu.reshape(3, 2)[:, 1], np.abs(v) / (400 / np.sqrt(3)), atol=1e-7)
    sent = (source * s / v).real  # V conj(I) with I = conj(S / V)
    np.testing.assert_allclose(state.p_sent_kw.reshape(3, 2)[:, 1], sent, atol=1e-5)
    assert np.ptp(np.abs(v)) > 2.0


def test_lateral_of_one_phase() -> None:
    """A house on phase b behind a line that has only b: nodes are those that exist."""
    net = feeder(
        [
            ("main", "s", "m", 0.1 * matrix(), "line", 1.0, "abc"),
            ("drop", "m", "h", 0.2 + 0.05j, "line", 1.0, "b"),
        ],
        {"s": (0.4, "abc"), "m": (0.4, "abc"), "h": (0.4, "b")},
    )
    ac = ACNetwork(net)
    assert list(zip(ac.bus.tolist(), ac.phase.tolist(), strict=True)) == [
        *((0, 0), (1, 0)),
        *((0, 1), (1, 1), (2, 1)),
        *((0, 2), (1, 2)),
    ]
    p = np.where((ac.bus == 2) & (ac.phase == 1), -10.0, 0.0)
    state = ac.flow(p, np.zeros(7))
    source = 1.02 * 400 / np.sqrt(3)
    v = complex(source)
    for _ in range(200):
        v = source - (0.1 * OWN + 0.2 + 0.05j) * np.conj(10000.0 / v)
    assert state.v_pu[4] == pytest.approx(abs(v) / (400 / np.sqrt(3)), abs=1e-7)
    assert state.loss_kw == pytest.approx(abs(10000.0 / v) ** 2 * (0.1 * OWN.real + 0.2) / 1000, rel=1e-5)
    assert state.p_sent_kw[[1, 6]] == pytest.approx([0.0, 0.0], abs=1e-6)
    # the other phases of the main line see the induced voltage only
    assert state.v_pu[1] != pytest.approx(state.v_pu[6], abs=1e-5)


def test_what_cannot_be_modelled() -> None:
    skewed = np.diag([0.1, 0.2, 0.1]).astype(complex)
    odd = feeder([("t", "s", "e", skewed, "transformer", 1.0, "abc")], {"s": (20.0, "abc"), "e": (0.4, "abc")})
    with pytest.raises(ao.InputError, match="transformer 't': its phases must have one impedance"):
        ACNetwork(odd)
