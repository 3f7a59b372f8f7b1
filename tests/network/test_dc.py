"""The DC model on meshes: published flows, another tool's, distribution factors by hand, and what is refused."""

from pathlib import Path

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.study.cli import main
from amm_opt.testing import network_model_checks

# pandapower 3.5.6: networks.case14 without shunts, rundcpp; injections and branch flows in MW
IEEE14_MW = [219.0, 18.3, -94.2, -47.8, -7.6, -11.2, 0.0, 0.0, -29.5, -9.0, -3.5, -6.1, -13.5, -14.9]
IEEE14_FLOWS_MW = [147.8386, 71.1614, 70.0146, 55.1519, 40.9721, -24.1854, -61.7465, 6.7283, 7.6074, 17.2513]
IEEE14_FLOWS_MW += [5.7717, 9.6413, -3.2283, 1.5074, 5.2587, 28.3612, 16.5518, 42.787, 0.0, 28.3612]
# facts of MATPOWER's case5 and of a textbook's three buses: injections that are optimal, and their flows in MW
PJM5 = {"bus 1": 210.0, "bus 2": -300.0, "bus 3": 23.4948, "bus 4": -400.0, "bus 5": 466.5052}
PJM5_FLOWS = {"1-2": 249.717, "1-4": 186.788, "1-5": -226.505, "2-3": -50.283, "3-4": -26.788, "4-5": -240.0}
THREE = {"bus 1": 360.0, "bus 2": -60.0, "bus 3": -300.0}
THREE_FLOWS = {"1-2": 156.0, "1-3": 204.0, "2-3": 96.0}


def mesh(branches: list[tuple[str, str, float]], **changes: object) -> ao.Feeder:
    """A network at 10 kV of branches with a reactance in ohm; bus a is the source, every rating 1 MVA."""
    names = sorted({bus for a, b, _ in branches for bus in (a, b)} | set(changes.pop("alone", ())))  # type: ignore[call-overload]
    buses = pd.DataFrame({"name": names, "vn_kv": 10.0, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["v_source_pu"] = np.where(buses["name"] == "a", 1.0, np.nan)
    rows = [(f"{a}-{b}-{k}", a, b, 0.1, x, 1000.0) for k, (a, b, x) in enumerate(branches)]
    table = pd.DataFrame(rows, columns=["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "rating_kva"]).assign(**changes)
    return ao.Feeder.from_tables(buses, table, meshed=True)


def flows_mw(case: ao.Case, injected_mw: dict[str, float]) -> dict[str, float]:
    """Flow of every branch in the direction of its table."""
    feeder = case.feeder
    p = np.zeros(feeder.n_buses)
    for bus, mw in injected_mw.items():
        p[feeder.bus_index[bus]] = 1e3 * mw
    flow = ao.DCFlow(feeder).state(p, 0.0 * p).p_flow_kw / 1e3
    start = dict(zip(feeder.tables.branches["name"], feeder.tables.branches["from_bus"], strict=True))
    return {
        name: float(mw) if feeder.bus_names[a] == start[name] else -float(mw)
        for name, mw, a in zip(feeder.branch_names[1:], flow[1:], feeder.ends[0, 1:], strict=True)
    }


@pytest.mark.parametrize(("name", "injected", "flows"), [("pjm5", PJM5, PJM5_FLOWS), ("three_bus", THREE, THREE_FLOWS)])
def test_published_flows(name: str, injected: dict[str, float], flows: dict[str, float]) -> None:
    found = flows_mw(ao.load_case(name), injected)
    assert found == pytest.approx({f"line {ends}": mw for ends, mw in flows.items()}, abs=1e-3)


def test_flows_of_another_tool() -> None:
    found = flows_mw(ao.load_case("ieee14"), {f"bus {i}": mw for i, mw in enumerate(IEEE14_MW, 1)})
    assert [found[f"branch {k}"] for k in range(1, 21)] == pytest.approx(IEEE14_FLOWS_MW, abs=1e-4)


def test_factors_of_a_triangle_by_hand() -> None:
    """With equal reactances two thirds of a transfer between two corners go the short way, one third the long one."""
    model = ao.DCFlow(mesh([("a", "b", 1.0), ("a", "c", 1.0), ("b", "c", 1.0)]))
    a_p, a_q, constant = model.rows(np.arange(3))
    from_b = a_p[:, model.feeder.bus_index["b"]] * 1000.0
    named = dict(zip((model.feeder.branch_names[e] for e in model.quantities.element), from_b, strict=True))
    assert named == pytest.approx({"a-b-0": -2 / 3, "a-c-1": -1 / 3, "b-c-2": 1 / 3}, abs=1e-12)
    assert not a_q.any()
    assert not constant.any()
    assert set(model.quantities.kind) == {"thermal"}


def test_parallel_branches_share_by_their_susceptance_and_a_ratio_counts_as_reactance() -> None:
    model = ao.DCFlow(mesh([("a", "b", 1.0), ("a", "b", 1.0)], tap=[1.0, 1.25], kind=["line", "transformer"]))
    flow = model.state(np.array([0.0, -900.0]), np.zeros(2)).p_flow_kw
    assert flow == pytest.approx([0.0, 500.0, 400.0])


@pytest.mark.parametrize("branches", [
    [("a", "b", 1.0), ("a", "c", 2.0), ("b", "c", 1.5), ("b", "c", 3.0), ("c", "d", 1.0), ("d", "a", 0.7)],
    [("a", "b", 1.0), ("c", "b", 2.0)],
])  # fmt: skip
def test_flows_follow_from_the_two_laws(branches: list[tuple[str, str, float]]) -> None:
    """What leaves every bus, and 0 around every loop, are as many equations as branches; ratings are 1 MVA."""
    model = ao.DCFlow(mesh(branches))
    leaving, loops, rows = model.by_flows
    injected = np.array([0.0, 300.0, -500.0, 120.0])[: model.feeder.n_buses]
    both = np.vstack([leaving.toarray(), loops.toarray()])
    flow = np.linalg.solve(both, np.append(injected[1:], np.zeros(loops.shape[0])))
    state = model.state(injected, 0.0 * injected)
    np.testing.assert_allclose(flow, state.p_flow_kw[1:], atol=1e-9)
    np.testing.assert_allclose(rows @ flow, state.p_flow_kw[1:] / 1000.0, atol=1e-12)


def test_rows_and_constraints_are_evaluate_on_a_mesh() -> None:
    case = ao.load_case("ieee57")
    model, rng = ao.DCFlow(case.feeder), np.random.default_rng(1)
    every = np.arange(len(model.quantities.kind))
    p = rng.normal(0.0, 2e4, (2, model.n_nodes))
    u = model.evaluate(p, 0.0 * p)
    a_p, _, constant = model.rows(every)
    assert np.abs(p @ a_p.T + constant - u).max() < 1e-10
    assert np.array_equal(model.rows(every[::5])[0], a_p[::5])
    room = cp.Variable(nonneg=True)
    fixed = (cp.Constant(p[0]), cp.Constant(0.0 * p[0]), u[0] - room, u[0] + room)
    problem = cp.Problem(cp.Minimize(room), model.constraints(*fixed))
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    assert abs(float(room.value)) < 1e-6


@pytest.mark.parametrize("check", list(network_model_checks("dc")), ids=str)
def test_check_kit(check: object) -> None:
    check.run()  # type: ignore[attr-defined]


def test_islands_are_named() -> None:
    with pytest.raises(ao.InputError, match="island: no closed branch joins d, e to the source"):
        mesh([("a", "b", 1.0), ("a", "c", 1.0), ("b", "c", 1.0), ("d", "e", 1.0)])


def test_a_mesh_must_be_said_to_be_one() -> None:
    case = ao.load_case("three_bus")
    tables = {name: table for name, table in case.tables().items() if name in ("buses", "branches")}
    with pytest.raises(ao.InputError, match="cycle: open one of the branches"):
        ao.Feeder.from_tables(**tables)


def test_models_of_radial_networks_refuse_it() -> None:
    feeder = ao.load_case("three_bus").feeder
    for model in (ao.LinDistFlow, ao.BranchFlowSOCP):
        with pytest.raises(ao.InputError, match="cycles are closed by 'line 2-3': open these, or use dc"):
            model(feeder)
    with pytest.raises(ao.InputError, match="AC power flow takes radial networks, and cycles are closed by 'line 2-3'"):
        ao.ACNetwork(feeder)
    with pytest.raises(ao.InputError, match="cannot be taken apart"):
        feeder.select(np.array([True, True, False]))


def test_what_has_no_reactance_or_has_phases_is_named() -> None:
    ring = [("a", "b", 1.0), ("a", "c", 1.0), ("b", "c", 1.0)]
    with pytest.raises(ao.InputError, match="branch 'b-c-2': x_ohm = 0; dc needs a reactance"):
        ao.DCFlow(mesh([*ring[:2], ("b", "c", 0.0)]))
    with pytest.raises(ao.InputError, match=r"branch 'a-b-0': phases = 'abc'.*balanced"):
        mesh(ring, phases="abc", r_ohm="0.1 | 0 0.1 | 0 0 0.1", x_ohm="1 | 0 1 | 0 0 1")


def test_a_mesh_stays_one_when_it_is_edited_saved_and_read(tmp_path: Path) -> None:
    case = ao.load_case("three_bus")
    again = ao.load_case(ao.save_case(case, tmp_path / "saved"))
    assert again.feeder.meshed
    assert again.fingerprint == case.fingerprint
    slack = case.with_ratings(factor=2.0)
    assert slack.feeder.meshed
    assert slack.feeder.rating_kva[1:] == pytest.approx(2.0 * case.feeder.rating_kva[1:])
    limited = case.with_scenario(limits={"line 2-3": 90e3})
    assert limited.feeder.rating_kva[limited.feeder.branch_names.index("line 2-3")] == 90e3
    chord = case.tables()["branches"]
    chord.loc[chord["name"] == "line 2-3", "x_ohm"] *= 2.0
    assert case.with_tables(branches=chord).fingerprint != case.fingerprint
    assert {name for *_, name in case.feeder.graph.edges(data="name")} == {"line 1-2", "line 1-3", "line 2-3"}


def test_a_mechanism_keeps_the_limits_of_every_branch_and_explain_names_them() -> None:
    """A limit that closes a cycle binds: 'line 2-3' halved. What three loads ask for comes from the source."""
    case = ao.load_case("three_bus").with_scenario(limits={"line 2-3": 30e3}, export_scale=0.0)
    run = ao.simulate(case, "amm")
    assert run.network == "dc"
    flow = ao.DCFlow(case.feeder).state(
        *case.bus_injections(0.0, run.allocation.import_kw[0], run.allocation.export_kw[0])
    )
    loading = dict(zip(case.feeder.branch_names, flow.loading_kva / case.feeder.rating_kva, strict=True))
    assert loading["line 2-3"] == pytest.approx(1.0, abs=1e-4)
    assert max(loading.values()) <= 1.0 + 1e-4
    assert "line 2-3" in set(run.explain()["limit"])


def test_a_mesh_without_ratings_limits_nothing() -> None:
    case = ao.load_case("three_bus")
    run = ao.simulate(case.with_tables(branches=case.tables()["branches"].assign(rating_kva=np.inf)), "amm")
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-9)


MATPOWER = """mpc.baseMVA = 100;
mpc.bus = [1 3 0 0 0 0 1 1 0 10 1 1.1 0.9; 2 1 20 0 0 0 1 1 0 10 1 1.1 0.9; 3 1 30 0 0 0 1 1 0 10 1 1.1 0.9];
mpc.gen = [1 0 0 0 0 1 100 1 99 0];
mpc.branch = [1 2 0 0.2 0 50 0 0 0 %g 1; 1 3 0 0.2 0 50 0 0 0 0 1; 2 3 0 0.1 0 50 0 0 0 0 1];
"""


def test_meshed_matpower_cases() -> None:
    case = ao.from_matpower(MATPOWER % 0, meshed=True)
    found = flows_mw(case, {"bus 2": -20.0, "bus 3": -30.0})  # by superposition: 0.6 and 0.4 of each transfer
    assert found == pytest.approx({"branch 1": 24.0, "branch 2": 26.0, "branch 3": 4.0})
    with pytest.raises(ao.InputError, match="meshed=true for the network model dc"):
        ao.from_matpower(MATPOWER % 0)


@pytest.mark.parametrize("degrees", [(30, 30, 0), (180, -180, 0), (0, -30, -30), (150, 120, -30)])
def test_phase_shifts_that_sum_to_nothing_around_a_loop_turn_angles_alone(degrees: tuple[int, int, int]) -> None:
    """Branches run from 1 to 2, 1 to 3 and 2 to 3: the first and the third shift as the second does."""
    text = MATPOWER.replace("0 0 %g 1;", "0 0 {} 1;").replace("50 0 0 0 0 1", "50 0 0 0 {} 1").format(*degrees)
    found = flows_mw(ao.from_matpower(text, meshed=True), {"bus 2": -20.0, "bus 3": -30.0})
    assert found == pytest.approx({"branch 1": 24.0, "branch 2": 26.0, "branch 3": 4.0})


def test_phase_shifts_that_drive_power_around_a_loop_are_refused() -> None:
    with pytest.raises(ao.InputError, match=r"sum to 30 degrees, and dc has no phase shifters.*branch 1 \(30\)"):
        ao.from_matpower(MATPOWER % 30, meshed=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "three_bus", "--mechanism", "amm", "--network", "lindistflow"], "open these, or use dc"),
        (["run", "mv33lv", "--mechanism", "lmp", "--network", "socp", "--steps", "2"], "use lindistflow"),
    ],
)
def test_the_command_line_refuses_in_one_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert sentence in result.output
