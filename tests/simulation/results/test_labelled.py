"""Runs with labels: what xarray reads is what the run holds, in memory and in a folder, block borders or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.simulation.loop import loop
from amm_opt.testing import cases

pytest.importorskip("xarray")
CASE = "synthetic:buses=60,days=2,seed=3"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[ao.Run]:
    """The same in memory, in a folder, and read from it."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "BLOCK_STEPS", 20)
        options = {"steps": slice(5, 90), "forecast": "noisy:sigma=0.3"}
        plain = ao.simulate(CASE, "amm", **options)
        return [plain, ao.simulate(CASE, "amm", out=folder, **options), ao.open_run(folder)]


def test_values_names_and_units(runs: list[ao.Run]) -> None:
    for run in runs:
        data, a, requests = run.dataset, run.allocation, run.requests
        assert dict(data.sizes) == {
            "time": 85,
            "direction": 2,
            "participant": run.case.n_participants,
            "feeder": len(run.case.feeder.lv_feeders),
            "after": 5,
        }
        for d, direction in enumerate(ao.DIRECTIONS):
            of = data.sel(direction=direction)
            np.testing.assert_array_equal(of.served_kw, a.both_kw[d])
            np.testing.assert_array_equal(of.price_per_kwh, getattr(a, f"{direction}_price"))
            np.testing.assert_array_equal(of.requested_kw, requests.request_kw(direction))
            assert run.planned is not None
            np.testing.assert_array_equal(of.planned_kw, run.planned.both_kw[d])
        np.testing.assert_array_equal(data.inflexible_kw, requests.inflexible_kw)
        np.testing.assert_array_equal(data.state_shortage[-1], run.state.arrays()["shortage"])
        assert data.indexes["time"].equals(run.times.rename("time"))
        assert data.after[1] == data.time[39]
        assert {v.attrs["units"] for k, v in data.items() if k.endswith("_kw")} == {"kW"}
        assert all(v.attrs["long_name"] for v in data.variables.values())
        assert all(v.attrs["units"] for v in data.data_vars.values())
        remembered = {"served_kwh": "kWh", "requested_kwh": "kWh", "requested_h": "h", "shortage": "1"}
        assert {name: data[f"state_{name}"].attrs["units"] for name in remembered} == remembered
        assert data.attrs["mechanism"] == "amm"


@pytest.mark.parametrize(
    "which", [0, -1, slice(15, 45), slice(None, None, 7), slice(50, 10, -3), [3, 60, 4], slice(9, 9)]
)
def test_parts_are_read_alone(which: object, runs: list[ao.Run]) -> None:
    whole = runs[0].dataset.served_kw.to_numpy()
    for run in runs[1:]:
        np.testing.assert_array_equal(run.dataset.served_kw[which], whole[which])  # type: ignore[index]
    who = runs[0].case.participant_names[3]
    part = runs[2].dataset.requested_kw.sel(participant=who, direction="export", time="2030-01-08")
    np.testing.assert_array_equal(part, runs[0].requests.export_request_kw[43:, 3])


def test_voltages_flows_and_loading_by_hand() -> None:
    """LinDistFlow: 40 kW behind 0.05 ohm at 0.4 kV lower the squared voltage by 2 r P / V^2."""
    lines = {"lv": ("src", TRACE, 50.0), "end": ("lv", 0.05, 80.0)}
    run = ao.simulate(small_case(lines, ["end"], [[0.0]], [[40.0]], [[0.0]]), "no_control", steps=1)
    assert run.flows().p_kw.sel(branch="to-end").item() == pytest.approx(40.0)
    np.testing.assert_allclose(run.loading().sel(branch=["to-lv", "to-end"])[0], [0.8, 0.5], atol=1e-9)
    up, down = (run.voltages().sel(node=node).item() for node in ("lv", "end"))
    assert up**2 - down**2 == pytest.approx(2 * 0.05 * 40e3 / 400.0**2, rel=1e-6)


def test_flows_with_losses_by_hand() -> None:
    """Branch flow: the sending end has what is drawn, and r I^2 of the resistance before it."""
    lines = {"lv": ("src", TRACE, 50.0), "end": ("lv", 0.05, 80.0)}
    run = ao.simulate(small_case(lines, ["end"], [[0.0]], [[40.0]], [[0.0]]), "no_control", steps=1, network="socp")
    current = 40e3 / (run.voltages().sel(node="end").item() * 400.0)
    sent = run.flows().sel(branch="to-end")
    assert sent.p_kw.item() == pytest.approx(40.0 + 0.05 * current**2 / 1e3, rel=1e-6)
    assert sent.q_kvar.item() == pytest.approx(0.0, abs=1e-3)
    assert run.loading().sel(branch="to-end").item() == pytest.approx(sent.p_kw.item() / 80.0, rel=1e-4)


def test_on_phases_and_in_part() -> None:
    run = ao.simulate(cases.small_case(balanced=False), "amm")
    volts = run.voltages()
    assert any(name.endswith(".b") for name in volts.node.to_numpy())
    np.testing.assert_array_equal(run.voltages(slice(3, 9)), volts[3:9])
    np.testing.assert_array_equal(run.loading(2), run.loading()[:2])
    with pytest.raises(ao.InputError, match="is not inside the run"):
        ao.simulate(CASE, "amm", steps=4).voltages(slice(2, 9))


def test_in_notebooks(runs: list[ao.Run], tmp_path: Path) -> None:
    result = ao.compare("synthetic:buses=20,days=1,seed=1", ["amm", "no_control"], steps=4)
    assert list(result) == ["amm", "no_control"]
    assert len(result) == 2
    assert result["amm"] is result.runs["amm"]
    assert "amm" in result
    assert dict(result.items()).keys() == result.runs.keys()
    for item in (runs[0], result, result.case, result.case.feeder):
        assert item._repr_html_().startswith("<")
        assert "<script" not in item._repr_html_()
        assert len(repr(item)) < 200


def test_flows_into_a_bus_of_a_mesh_are_what_it_draws() -> None:
    """Kirchhoff's current law at every bus but the source, with the directions that the labels say."""
    run = ao.simulate("ieee14", "lmp", steps=2)
    flows, data = run.flows().p_kw, run.dataset
    drawn = data.inflexible_kw + data.served_kw.sel(direction="import") - data.served_kw.sel(direction="export")
    bus_of = run.case.tables()["participants"].set_index("name")["bus"]
    at = bus_of.loc[data.participant.values].to_numpy()
    for bus in run.case.feeder.bus_names[1:]:
        into = flows[:, flows.to_bus.values == bus].sum("branch") - flows[:, flows.from_bus.values == bus].sum("branch")
        np.testing.assert_allclose(into, drawn[:, at == bus].sum("participant"), atol=1e-6)
