"""Limits of single branches: active power by direction, ratings by name and by tier, on balanced feeders and phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.network import ACNetwork
from amm_opt.network.excess import excesses
from amm_opt.registry import as_mechanism, mechanisms, network_of
from amm_opt.testing.cases import small_case

LIMITS = {"to-mv": {"import_limit_kw": 45.0, "export_limit_kw": 20.0}, "to-low-B": {"export_limit_kw": 15.0}}
NETWORKS = {"lindistflow": True, "socp": True, "lindist3flow": False}
EXACT = 1e-4
"""What solvers and audits let pass, as a fraction of a limit."""


def limited(balanced: bool, **changes: Any) -> Case:
    return small_case(balanced).with_scenario(limits=LIMITS, **changes)


def through(case: Case, powers: np.ndarray, feeder: str | None = None) -> np.ndarray:
    """(T,) what participants behind an LV feeder, or all, draw in sum: without losses, the flow on their branch."""
    chosen = slice(None) if feeder is None else case.lv_feeder == case.feeder.lv_feeders.index(feeder)
    return np.asarray(powers[:, chosen].sum(axis=1))


def drawn(run: ao.Run) -> np.ndarray:
    return np.asarray(run.requests.inflexible_kw + run.allocation.drawn_kw - run.allocation.injected_kw)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("name", [name for name in sorted(mechanisms()) if as_mechanism(name).enforces_limits])
def test_every_mechanism_keeps_limits_by_direction(name: str, balanced: bool) -> None:
    case = limited(balanced)
    run = ao.simulate(case, name)
    total, of_b = through(case, drawn(run)), through(case, drawn(run), "B")
    assert total.max() <= 45.0 * (1 + EXACT)
    assert total.min() >= -20.0 * (1 + EXACT)
    assert of_b.min() >= -15.0 * (1 + EXACT)
    assert run.summary["thermal_violations"] == 0
    free = ao.simulate(small_case(balanced), name)
    assert through(case, drawn(free)).max() > 50.0
    assert through(case, drawn(free)).min() < -21.0


@pytest.mark.parametrize("balanced", [True, False])
def test_throughput_uses_a_limit_that_binds_alone_to_the_last(balanced: bool) -> None:
    """With ratings and bands out of the way, as much is drawn as the meter allows, and not more than is asked for."""
    case = small_case(balanced).with_scenario(limits={"to-mv": {"import_limit_kw": 30.0}}, capacity_scale=1.0)
    case = case.with_scenario(lv_capacity_scale=10.0, import_scale=0.5)
    run = ao.simulate(case, "amm")
    w = run.requests
    asked = through(case, w.inflexible_kw + w.import_request_kw)
    binds = (asked > 30.0) & (w.export_request_kw.sum(axis=1) == 0)
    assert binds.sum() >= 3
    np.testing.assert_allclose(through(case, drawn(run))[binds], 30.0, rtol=EXACT)


@pytest.mark.parametrize("balanced", [True, False])
def test_no_control_breaks_limits_by_direction_and_is_seen(balanced: bool) -> None:
    case = limited(balanced)
    only = small_case(balanced).with_scenario(
        limits={name: {"rating_kva": 1e6} for name in case.feeder.branch_names[1:]}
    )
    metered = only.with_scenario(limits={**only.scenario.limits, "to-mv": {"rating_kva": 1e6, **LIMITS["to-mv"]}})
    run = ao.simulate(metered, "no_control")
    total = through(metered, drawn(run))
    beyond = (total > 45.0) | (total < -20.0)
    assert run.summary["thermal_violations"] == beyond.sum() > 4
    assert run.summary["worst_thermal_excess_pct"] == pytest.approx(
        100 * (max(total.max() / 45.0, -total.min() / 20.0) - 1.0)
    )
    assert ao.simulate(only, "no_control").summary["thermal_violations"] == 0


@pytest.mark.parametrize(("network", "balanced"), NETWORKS.items())
def test_ac_power_flow_is_judged_by_the_power_at_the_upper_end(network: str, balanced: bool) -> None:
    """Losses are behind the meter: import is cut for them, and of export they leave less."""
    case = limited(balanced)
    if network == "socp":  # losses that no network has would let more export through its relaxation
        case = case.with_scenario(export_scale=0.0)
    run = ao.simulate(case, "amm", network=network, ac="secure")
    assert not run.failed_steps
    a, w, ac = run.allocation, run.requests, ACNetwork(case.feeder)
    spread = network_of(case, network).incidence(case.bus, case.phases)
    state = ac.flow(*case.bus_injections(w.inflexible_kw, a.drawn_kw, a.injected_kw, spread))
    at_head = state.p_sent_kw[:, ac.bus == case.feeder.bus_index["mv"]].sum(axis=1)
    assert at_head.max() == pytest.approx(45.0, rel=2e-3)
    assert at_head.max() <= 45.0 * (1 + EXACT)
    assert at_head.min() == pytest.approx(-20.0, rel=0.03) or network == "socp"
    assert at_head.min() >= -20.0
    assert run.summary["ac_thermal_violations"] == 0
    thermal, _ = excesses(network_of(case, network), ac.flow(*np.zeros((2, ac.n_nodes))))
    assert thermal.max() == 0.0


@pytest.mark.parametrize("balanced", [True, False])
def test_a_limit_that_inflexible_load_breaks_is_relaxed_to_it_and_named(balanced: bool) -> None:
    case = small_case(balanced).with_scenario(limits={"to-mv": {"import_limit_kw": 5.0}})
    run = ao.simulate(case, "amm")
    w = run.requests
    alone = through(case, w.inflexible_kw)
    assert alone.min() > 5.0
    assert (through(case, drawn(run)) <= alone * (1 + EXACT)).all()
    assert run.summary["thermal_violations"] == 0
    assert any("'to-mv'" in said and "import_limit_kw = 5" in said for said in run.unavoidable)


def test_two_tiers_keep_limits_by_direction() -> None:
    case = limited(balanced=True)
    run = ao.simulate(case, "amm", tiers="two")
    assert not run.failed_steps
    assert through(case, drawn(run)).max() <= 45.0 * (1 + EXACT)
    assert through(case, drawn(run)).min() >= -20.0 * (1 + EXACT)
    assert through(case, drawn(run), "B").min() >= -15.0 * (1 + EXACT)


def test_limits_by_name_and_factors_by_tier() -> None:
    feeder = small_case(True).feeder
    made = feeder.with_limits(limits={"to-mv": {"import_limit_kw": 60.0}, "to-b1": 33.0}, mv_capacity_scale=0.5)
    at = {name: i for i, name in enumerate(made.branch_names)}
    assert made.rating_kva[at["to-mv"]] == 52.5
    assert made.import_limit_kw[at["to-mv"]] == 30.0
    assert np.isinf(made.export_limit_kw).all()
    assert made.rating_kva[at["to-b1"]] == 33.0
    assert made.rating_kva[at["to-low-A"]] == 45.0
    half = feeder.with_limits(lv_capacity_scale=0.5, capacity_scale=0.5)
    assert half.rating_kva[at["to-low-A"]] == 11.25
    assert half.rating_kva[at["to-mv"]] == 52.5
    assert made.with_limits().rating_kva[at["to-b1"]] == 200.0
    assert made.graph.edges["source", "mv"]["import_limit_kw"] == 30.0


def test_a_case_with_limits_is_another_case_and_is_read_back(tmp_path: Path) -> None:
    case = small_case(False)
    same = case.with_scenario(limits={})
    other = limited(False, mv_capacity_scale=0.9)
    assert same.fingerprint == case.fingerprint
    assert len({case.fingerprint, limited(False).fingerprint, other.fingerprint}) == 3
    read = ao.load_case(ao.save_case(other, tmp_path / "saved"))
    assert (read.fingerprint, read.scenario) == (other.fingerprint, other.scenario)
    assert read.with_scenario(limits={}, mv_capacity_scale=1.0).fingerprint == case.fingerprint
    run = ao.simulate(other, "amm", steps=4)
    run.save(tmp_path / "run")
    assert ao.open_run(tmp_path / "run").summary.equals(run.summary)


def test_limits_in_the_table_of_branches_are_those_of_a_scenario(tmp_path: Path) -> None:
    folder = ao.save_case(small_case(True), tmp_path / "saved")
    table = (folder / "branches.csv").read_text().splitlines()
    columns = table[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in table[1:]]
    for row in rows:
        row |= {column: str(value) for column, value in LIMITS.get(row["name"], {}).items()}
    (folder / "branches.csv").write_text("\n".join([table[0], *(",".join(row[c] for c in columns) for row in rows)]))
    assert ao.load_case(folder).fingerprint == limited(True).fingerprint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limits": {"to-mw": 3.0}}, ("unknown branch 'to-mw'", "to-mv")),
        (
            {"limits": {"to-mv": {"kva": 3.0}}},
            ("'to-mv': kva is unknown", "rating_kva, import_limit_kw, export_limit_kw"),
        ),
        ({"limits": {"to-mv": {"import_limit_kw": -1.0}}}, ("import_limit_kw = -1.0 must be a positive number",)),
        ({"limits": {"to-mv": "much"}}, ("rating_kva = 'much' must be a positive number",)),
        ({"limits": 3.0}, ("limits = 3.0 must be",)),
        ({"limit": {}}, ("unknown scenario factor 'limit'", "limits")),
        ({"lv_capacity_scale": 0.0}, ("lv_capacity_scale = 0.0 must be a positive number",)),
    ],
)
def test_wrong_limits_are_refused(changes: dict[str, Any], said: tuple[str, ...]) -> None:
    with pytest.raises(ao.InputError) as caught:
        small_case(True).with_scenario(**changes)
    assert all(part in str(caught.value) for part in said)


def test_wrong_limits_in_a_folder_are_refused(tmp_path: Path) -> None:
    folder = ao.save_case(small_case(True), tmp_path / "saved")
    (folder / "case.toml").write_text('[scenario.limits."to-mw"]\nimport_limit_kw = 5.0\n')
    with pytest.raises(ao.InputError, match=r"unknown branch 'to-mw'.*to-mv"):
        ao.load_case(folder)
    (folder / "case.toml").write_text("")
    text = (folder / "branches.csv").read_text()
    (folder / "branches.csv").write_text(text.replace("import_limit_kw", "import_limit"))
    with pytest.raises(ao.InputError, match=r"unknown column 'import_limit'.*import_limit_kw"):
        ao.load_case(folder)
