"""MATPOWER cases: statements are run as MATLAB would, and what the matrices say becomes the network or is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import ACNetwork

MATPOWER = """function mpc = tiny
%% a comment
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [ % bus_i type Pd Qd Gs Bs area Vm Va baseKV zone Vmax Vmin
    1 3 0    0    0 0 1 1 0 12.66 1 1.0 1.0;
    2 1 0.10 0.06 0 0 1 1 0 12.66 1 1.1 0.9;
    3 1 0.09 0.04 0 0.5 1 1 0 12.66 1 1.1 0.9;
    4 2 0    0    0 0 1 1 0 0.4   1 1.1 0.9;
];
mpc.gen = [
    1 0 0 10 -10 1.02 100 1 10 0;
    4 0 0 0  0   1    100 1 0.05 0;
];
mpc.branch = [ % fbus tbus r x b rateA rateB rateC ratio angle status
    1 2 0.0575 0.0293 0 5 0 0 0 0 1 -360 360;
    2 3 0.3076 0.1567 0 0 0 0 0 0 1 -360 360;
    3 4 0.4    2.0    0 0.1 0 0 0.975 0 1 -360 360;
    4 4 0.1    0.1    0 0 0 0 0 0 0 -360 360;
];
"""


def branch(case: ao.Case, name: str) -> tuple[complex, float, float]:
    f = case.feeder
    k = f.branch_names.index(name)
    return complex(f.z_ohm[k][0, 0]), float(f.rating_kva[k]), float(f.tap[k])


def test_matpower_numbers() -> None:
    text = MATPOWER.replace("    4 4 0.1    0.1    0 0 0 0 0 0 0 -360 360;\n", "")
    case = ao.from_matpower(text)
    assert (case.name, case.feeder.v_source_pu, case.feeder.bus_names[0]) == ("tiny", 1.02, "bus 1")
    z, rating, tap = branch(case, "branch 1")
    assert z == pytest.approx((0.0575 + 0.0293j) * 12.66**2 / 10)
    assert (rating, tap) == (5000.0, 1.0)
    z, rating, tap = branch(case, "branch 3")
    assert z == pytest.approx((0.4 + 2.0j) * 0.4**2 / 10)
    assert (rating, tap) == (pytest.approx(100.0), 0.975)
    w = case.requests(0, 2).interval(0)
    people = dict(zip(case.participant_names, range(3), strict=True))
    assert w.inflexible_kw[people["bus 2"]] == pytest.approx(100.0)
    assert w.export_request_kw[people["bus 4"]] == pytest.approx(50.0)
    p, q = case.bus_injections(w.inflexible_kw, 0.0, 0.0)
    assert (p.sum(), q.sum()) == (pytest.approx(-190.0), pytest.approx(-100.0))
    text = str(case.report)
    for said in ("4 buses", "no limit on 1 branch without rateA", "0.5 Mvar injected at 1 pu", "two intervals"):
        assert said in text
    assert case.feeder.lv_feeders == ("branch 3",)


def test_matpower_file_and_mapping(tmp_path: Path) -> None:
    text = MATPOWER.replace("    4 4 0.1    0.1    0 0 0 0 0 0 0 -360 360;\n", "")
    (tmp_path / "tiny.m").write_text(text)
    from_file, from_text = ao.from_matpower(tmp_path / "tiny.m"), ao.from_matpower(text)
    rows = {
        key: np.array([[float(x) for x in r.split("%")[0].split()] for r in body.split("];")[0].split(";")[0:-1]])
        for key, body in ((k, text.split(f"mpc.{k} = [")[1].split("\n", 1)[1]) for k in ("bus", "gen", "branch"))
    }
    from_mapping = ao.from_matpower({"baseMVA": 10.0, **rows}, name="tiny")
    assert from_file.fingerprint == from_text.fingerprint == from_mapping.fingerprint


def test_matpower_follows_the_units_of_distribution_cases() -> None:
    """Ohm and kW with the conversion that MATPOWER's own distribution cases end with: the 33-bus feeder's losses."""
    table = pd.read_csv(Path(__file__).parents[1] / "data" / "ieee33.csv", comment="#")
    lines = ["function mpc = case33", "mpc.baseMVA = 100;", "mpc.bus = ["]
    for _, r in table.iterrows():
        kind = 3 if r["bus"] == 1 else 1
        lines.append(f"{int(r['bus'])} {kind} {r['load_kw']} {r['load_kvar']} 0 0 1 1 0 12.66 1 1.1 0.9;")
    lines += ["];", "mpc.gen = [1 0 0 10 -10 1 100 1 10 0];", "mpc.branch = ["]
    for _, r in table.iloc[1:].iterrows():
        lines.append(f"{int(r['from_bus'])} {int(r['bus'])} {r['r_ohm']} {r['x_ohm']} 0 0 0 0 0 0 1 -360 360;")
    lines += [
        "21 8 2 2 0 0 0 0 0 0 0 -360 360;",
        "];",
        "[PQ, PV, REF, NONE, BUS_I, BUS_TYPE, PD, QD] = idx_bus;",
        "Vbase = mpc.bus(1, BASE_KV) * 1e3;      %% in Volts",
        "Sbase = mpc.baseMVA * 1e6;              %% in VA",
        "mpc.branch(:, [BR_R BR_X]) = mpc.branch(:, [BR_R BR_X]) / (Vbase^2 / Sbase);",
        "mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;",
    ]
    text = "\n".join(lines)
    case = ao.from_matpower(text)
    run = ao.simulate(case, "no_control", ac="verify")
    assert run.summary["ac_losses_mwh"] == pytest.approx(0.2027, abs=5e-5)  # 202.7 kW for an hour
    assert case.report is not None
    assert len([line for line in case.report.read if "mpc.branch(:, [BR_R BR_X]) =" in line]) == 1
    assert ao.from_matpower(text + "\nmpc.gen(:, 2) = 5;").fingerprint == case.fingerprint
    with pytest.raises(ao.InputError, match=r"cannot be followed: mpc.gen\(:, 2\) = f\(5\)"):
        ao.from_matpower(text + "\nmpc.gen(:, 2) = f(5);")
    # with the tie closed there is one loop, and the message names what could be opened
    meshed = text.replace("21 8 2 2 0 0 0 0 0 0 0", "21 8 2 2 0 0 0 0 0 0 1")
    with pytest.raises(ao.InputError, match="give 1 open_branches") as caught:
        ao.from_matpower(meshed)
    choices = caught.value.problems[1].split("open one of: ")[1].split(", ")
    assert {"branch 33", "branch 7", "branch 20"} <= set(choices)
    for name in choices:
        assert ao.from_matpower(meshed, open_branches=[name]).feeder.n_buses == 33
    assert ao.from_matpower(meshed, open_branches=["branch 33"]).fingerprint == case.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12.66 1 1.1 0.9;\n    3", "0 1 1.1 0.9;\n    3", "bus 2: baseKV = 0 must be positive"),
        ("2 3 0.3076", "2 9 0.3076", "branch 2: no bus 9"),
        ("2 3 0.3076", "2 2 0.3076", "branch 'branch 2': both ends are at bus 'bus 2'"),
        ("    1 3 0 ", "    1 1 0 ", "a reference bus (type 3) is needed, this case has none"),
        ("mpc.gen = [", "mpc.other = [", "mpc.gen is missing"),
        ("0.0575 0.0293", "0.0575 x", "line 16: cannot be followed: 1 2 0.0575 x"),
    ],
)
def test_matpower_problems_are_named(old: str, new: str, said: str) -> None:
    assert old in MATPOWER
    with pytest.raises(ao.InputError) as caught:
        ao.from_matpower(MATPOWER.replace(old, new))
    assert said in str(caught.value)


def test_endfunction_ends_a_case() -> None:
    assert ao.from_matpower(f"{MATPOWER}\nendfunction\n").fingerprint == ao.from_matpower(MATPOWER).fingerprint


STREET = {
    "baseMVA": 10.0,
    "bus": [[1, 3, 0, 0, 0, 0, 1, 1, 0, 11, 1, 1.1, 0.9], [2, 1, 0.1, 0.06, 0, 0, 1, 1, 0, 11, 1, 1.1, 0.9]],
    "gen": [[1, 0, 0, 10, -10, 1.02, 100, 1, 10, 0]],
    "branch": [[1, 2, 0.0575, 0.0293, 0, 5, 0, 0, 0, 0, 1]],
}


def street(**more: Any) -> ao.Case:
    return ao.from_matpower({**STREET, **more})


def with_generators(*generators: list[float]) -> ao.Case:
    """Generators at bus 2: Pg, Qg, Qmax, Qmin, Vg, mBase, status, Pmax, Pmin."""
    return street(gen=[*STREET["gen"], *([2, *g] for g in generators)])  # type: ignore[misc]


def asked(case: ao.Case) -> tuple[float, float, float]:
    w = case.requests(0, 1)
    load, imports, exports = (
        round(float(p.sum()), 9) for p in (w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    )
    return load, imports, exports


def kvar(case: ao.Case, *, flexible: bool) -> float:
    """Reactive power drawn, with every request served or none."""
    w = case.requests(0, 1)
    f = 1.0 if flexible else 0.0
    return -float(case.bus_injections(w.inflexible_kw, f * w.import_request_kw, f * w.export_request_kw)[1].sum())


def said(case: ao.Case) -> str:
    return str(case.report)


def test_generators() -> None:
    case = with_generators([-0.05, 0, 0, -0.02, 1, 100, 1, 0, -0.05])
    assert asked(case) == (100.0, 50.0, 0.0)
    assert kvar(case, flexible=True) == pytest.approx(60 + 20)  # Qmin goes with Pmin
    assert "1 generator with negative Pmin is a dispatchable load and asks for import" in said(case)
    leading = with_generators([-0.05, 0, 0.01, 0, 1, 100, 1, 0, -0.05])
    assert kvar(leading, flexible=True) == pytest.approx(60 - 10)
    fixed = with_generators([0, 0, 0, 0, 1, 100, 1, -0.02, -0.05])  # at least 20 kW are drawn
    assert asked(fixed) == (120.0, 30.0, 0.0)
    both = with_generators([0, 0, 0, 0, 1, 100, 1, 0.03, -0.05])
    assert asked(both) == (100.0, 50.0, 30.0)
    must_run = with_generators([0.03, 0, 0, 0, 1, 100, 1, 0.03, 0.01])
    assert asked(must_run) == (90.0, 0.0, 20.0)
    assert "1 generator must run at Pmin: generator 2" in said(must_run)
    reactive = with_generators([0.01, 0.02, 0, 0, 1, 100, 1, 0.01, 0])  # at a bus of type 1 MATPOWER injects Qg
    assert (asked(reactive), kvar(reactive, flexible=False)) == ((100.0, 0.0, 10.0), pytest.approx(40.0))
    off = with_generators([0, 0, 0, -0.02, 1, 100, 0, 0, -0.05])
    assert asked(off) == (100.0, 0.0, 0.0)
    at_source = street(gen=[*STREET["gen"], [1, 0, 0, 0, 0, 1.02, 100, 1, 0, -0.05]])  # type: ignore[misc]
    assert asked(at_source) == (100.0, 50.0, 0.0)
    capped = with_generators([0.05, 0, 0, 0, 1, 100, 1, 0.02, 0])
    assert "1 generator with a Pg above Pmax gives" in said(capped)


def test_isolated_buses_take_what_is_there_along() -> None:
    bus = [*STREET["bus"], [3, 4, 0.9, 0.04, 0, 0.5, 1, 1, 0, 11, 1, 1.1, 0.9]]  # type: ignore[misc]
    branches = [*STREET["branch"], [2, 3, 0.3, 0.1, 0.2, 0, 0, 0, 0, 0, 1]]  # type: ignore[misc]
    gen = [*STREET["gen"], [3, 0, 0, 0, 0, 1, 100, 1, 0.2, 0]]  # type: ignore[misc]
    case = street(bus=bus, branch=branches, gen=gen)
    assert (case.feeder.n_buses, asked(case)) == (2, (100.0, 0.0, 0.0))
    assert "1 isolated bus (type 4) with 900 kW of load, 1 generator and 1 branch: bus 3" in said(case)


def ybus_voltages(case: dict[str, Any]) -> np.ndarray:
    """Magnitudes by an own Newton-free iteration on the admittance matrix of MATPOWER's manual, section 3."""
    bus, line, base = np.array(case["bus"], float), np.array(case["branch"], float), case["baseMVA"]
    n = len(bus)
    y = np.diag((bus[:, 4] + 1j * bus[:, 5]) / base).astype(complex)
    for f, t, r, x, b, _, _, _, tap, shift, status in line[line[:, 10] > 0]:
        ys, i, j = status / complex(r, x), int(f) - 1, int(t) - 1
        ratio = (tap or 1.0) * np.exp(1j * np.deg2rad(shift))
        y[i, i] += (ys + 0.5j * b) / abs(ratio) ** 2
        y[j, j] += ys + 0.5j * b
        y[i, j] += -ys / np.conj(ratio)
        y[j, i] += -ys / ratio
    s, v = -(bus[:, 2] + 1j * bus[:, 3]) / base, np.full(n, case["gen"][0][5], complex)
    for _ in range(200):
        v[1:] = np.linalg.solve(y[1:, 1:], np.conj(s[1:] / v[1:]) - y[1:, 0] * v[0])
    return np.asarray(abs(v))


def test_shunts_charging_taps_and_shifts_in_the_power_flow() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        n = int(rng.integers(3, 7))
        kv = rng.choice([11.0, 33.0], n)
        bus = [
            [
                k + 1,
                3 if k == 0 else 1,
                *rng.uniform(-0.1, 0.3, 2),
                *rng.uniform(-0.1, 0.4, 2),
                1,
                1,
                0,
                kv[k],
                1,
                2,
                0.1,
            ]
            for k in range(n)
        ]
        bus[0][2:4] = [0.0, 0.0]
        rows = []
        for k in range(1, n):
            ends = [int(rng.integers(0, k)) + 1, k + 1]
            tap = rng.choice([0.0, 0.95, 1.0, 1.05]) if kv[ends[0] - 1] == kv[k] else rng.uniform(0.95, 1.05)
            if rng.random() < 0.4:
                ends.reverse()
            rows.append(
                [*ends, *rng.uniform(0.01, 0.1, 2), rng.uniform(0, 0.2), 0, 0, 0, tap, rng.choice([0, 30, 7]), 1]
            )
        source = {"baseMVA": 5.0, "bus": bus, "branch": rows, "gen": [[1, 0, 0, 9, -9, 1.02, 100, 1, 9, 0]]}
        case = ao.from_matpower(source)
        w = case.requests(0, 1)
        p, q = case.bus_injections(w.inflexible_kw, 0 * w.import_request_kw, 0 * w.export_request_kw)
        mine = ACNetwork(case.feeder).flow(p[0], q[0]).v_pu
        order = [int(b.split()[1]) - 1 for b in case.feeder.bus_names]
        assert mine == pytest.approx(ybus_voltages(source)[order], abs=2e-6)


def test_reactive_load_alone_and_sums_of_both_signs() -> None:
    bus = [*STREET["bus"], [3, 1, 0, -0.8, 0, 0, 1, 1, 0, 11, 1, 1.1, 0.9]]  # type: ignore[misc]
    bus[1] = [2, 1, -0.1, 0.06, 0, 0, 1, 1, 0, 11, 1, 1.1, 0.9]
    branches = [*STREET["branch"], [2, 3, 0.3, 0.1, 0, 0, 0, 0, 0, 0, 1]]  # type: ignore[misc]
    case = street(bus=bus, branch=branches)
    w = case.requests(0, 1)
    p, q = case.bus_injections(w.inflexible_kw, 0.0, 0.0)
    at = case.feeder.bus_index
    assert (p[0, at["bus 2"]], q[0, at["bus 2"]]) == (pytest.approx(100.0), pytest.approx(-60.0))
    assert q[0, at["bus 3"]] == pytest.approx(800.0)
    assert "800.0 kvar of elements with little or no active power are constant" in said(case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bus": [[1.5, *STREET["bus"][0][1:]], STREET["bus"][1]]}, "bus in row 1: number 1.5 is no positive whole"),  # type: ignore[index]
        ({"bus": [STREET["bus"][0], STREET["bus"][1], STREET["bus"][1]]}, "bus 2 stands twice"),  # type: ignore[index]
        ({"bus": [STREET["bus"][0], [2, 3, *STREET["bus"][1][2:]]]}, "loop of 3 branches; open one of: branch 1"),  # type: ignore[index]
        (
            {"bus": [STREET["bus"][0], [2, 3, *STREET["bus"][1][2:]]]},
            'bus 2 close it: keep one of them, as in sources=["bus 1"]',
        ),  # type: ignore[index]
        ({"bus": [STREET["bus"][0], [2, 1, np.nan, *STREET["bus"][1][3:]]]}, "bus 2: PD = nan must be a finite"),  # type: ignore[index]
        ({"bus": [STREET["bus"][0], [np.inf, *STREET["bus"][1][1:]]]}, "number inf is no positive whole number"),  # type: ignore[index]
        ({"bus": "text"}, "mpc.bus is no matrix of numbers"),
        ({"bus": [[1, 2], [3]]}, "mpc.bus is no matrix of numbers"),
        ({"bus": []}, "mpc.bus has no rows"),
        ({"baseMVA": 0}, "mpc.baseMVA = 0.0 must be one positive number"),
        ({"baseMVA": [10, 20]}, "must be one positive number"),
        ({"baseMVA": None}, "mpc.baseMVA"),
        ({"version": "3"}, "mpc.version = '3'; versions 1 and 2 are read"),
        ({"dcline": [[1, 2, 1]]}, "direct-current lines are not supported"),
        ({"branch": [[1, 2, 0.1, 0.1, 0, -5, 0, 0, 0, 0, 1]]}, "branch 1: rateA = -5 must not be negative"),
        ({"branch": [[1, 2, 0.1, 0.1]]}, "mpc.branch is 1 x 4, at least 11 columns are needed"),
        ({"gen": [*STREET["gen"], [1, 0, 0, 0, 0, 1.05, 1, 1, 1, 0]]}, "hold different Vg: 1.02, 1.05"),  # type: ignore[misc]
        ({"gen": [*STREET["gen"], [2, 0, 0, 0, 0, 1, 1, 1, np.inf, 0]]}, "generator 2: PMAX = inf must be a finite"),  # type: ignore[misc]
        ({"gen": [*STREET["gen"], [2, 0, 0, 0, 0, 1, 1, 1, 1, 2]]}, "Pmin = 2 is above Pmax = 1"),  # type: ignore[misc]
        ({"gen": [*STREET["gen"], [2, 0, 0, 1, -1, 1, 1, 1, 0, -1]]}, "one of them must be 0"),  # type: ignore[misc]
    ],
)
def test_unusable_numbers_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        street(**change)
    assert message in str(caught.value)


def test_sources_that_are_no_case(tmp_path: Path) -> None:
    (tmp_path / "case.mat").write_bytes(b"MATLAB 5.0")
    (tmp_path / "bom.m").write_bytes(b"\xef\xbb\xbf" + MATPOWER.encode())
    assert ao.from_matpower(str(tmp_path / "bom.m")).name == "tiny"
    for source, message in (
        (tmp_path, "not found, or not a file"),
        (tmp_path / "case.mat", "is binary"),
        ("x" * 5000, "not found, or not a file"),
        (7, "source is a int"),
        ("mpc.baseMVA = 10;", "mpc.bus is missing"),
    ):
        with pytest.raises(ao.InputError, match=message):
            ao.from_matpower(source)  # type: ignore[arg-type]


def test_the_report_names_what_is_not_read() -> None:
    text = MATPOWER + "mpc.areas = [1 1];\nmpc.bus_name = {'a'; 'b'};\nmpc.branch(1, RATE_B) = 6;\n"
    case = ao.from_matpower(text + "mpc.branch(2, ANGMAX) = 30;")
    for words in (
        "mpc.areas, mpc.bus_name",
        "rateB and rateC of 1 branch:",
        "limits on voltage angles of 1 branch",
    ):
        assert words in said(case)
    version_1 = MATPOWER.replace("function mpc = tiny", "function [baseMVA, bus, gen, branch] = tiny").replace(
        "mpc.", ""
    )
    assert (
        ao.from_matpower(version_1.replace("version = '2';", "")).fingerprint == ao.from_matpower(MATPOWER).fingerprint
    )
    without = street(gen=[])
    assert without.feeder.v_source_pu == 1.0
    assert "held at its Vm of 1 pu: no generator is in service" in said(without)


@pytest.mark.parametrize("kv", [138, 230, 400, 765])
def test_transmission_voltages_are_no_volts(kv: int) -> None:
    text = f"""function mpc = high
mpc.version = '2'; mpc.baseMVA = 100;
mpc.bus = [1 3 0 0 0 0 1 1 0 {kv} 1 1.1 0.9; 2 1 300 98 0 0 1 1 0 {kv} 1 1.1 0.9];
mpc.gen = [1 0 0 100 -100 1 100 1 900 0];
mpc.branch = [1 2 0.00281 0.0281 0.00712 400 400 400 0 0 1 -360 360];
"""
    case = ao.from_matpower(text)
    assert set(case.feeder.vn_kv) == {kv}
    assert case.requests(0, 1).inflexible_kw.max() == pytest.approx(300_000)


def test_several_references_on_separate_trees_are_joined() -> None:
    """Bus 1 at 1.02 pu feeds what it did; bus 5 at 1.03 pu another load over the impedance of branch 1."""
    buses = "    5 3 0 0 0 0 1 0.99 0 12.66 1 1.1 0.9;\n    6 1 0.1 0.06 0 0 1 1 0 12.66 1 1.1 0.9;\n"
    two = MATPOWER.replace("    4 2 0 ", buses + "    4 2 0 ")
    two = two.replace("    4 0 0 0 ", "    5 0 0 10 -10 1.03 100 1 10 0;\n    4 0 0 0 ")
    two = two.replace("    2 3 0.3076", "    5 6 0.0575 0.0293 0 5 0 0 0 0 1 -360 360;\n    2 3 0.3076")
    case, alone = ao.from_matpower(two), ao.from_matpower(two, sources=["bus 5"])
    voltages = []
    for made in (case, alone):
        w = made.requests(0, 1)
        p, q = made.bus_injections(w.inflexible_kw, 0.0, 0.0)
        voltages.append(dict(zip(made.feeder.bus_names, ACNetwork(made.feeder).flow(p[0], q[0]).v_pu, strict=True)))
    assert (voltages[0]["bus 1"], voltages[0]["bus 5"]) == (pytest.approx(1.02), pytest.approx(1.03))
    drop = (0.0575 * 0.01 + 0.0293 * 0.006) / 1.03  # first order, in pu of 10 MVA
    assert voltages[0]["bus 6"] == pytest.approx(1.03 - drop, abs=2e-6)
    assert voltages[1]["bus 6"] == pytest.approx(voltages[0]["bus 6"], abs=1e-7)
    assert set(alone.feeder.bus_names) == {"bus 5", "bus 6"}
