"""The real feeder: check values of the import, and LinDist3Flow against OpenDSS with four wires."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, csiro_network, year_case
from amm_opt.network import LinDist3Flow, Lossy
from amm_opt.simulation import simulate

VOLTS = 400.0 / np.sqrt(3.0)
KVAR_PER_KW = float(np.tan(np.arccos(0.95)))


@pytest.fixture(scope="module")
def network(csiro_folder: Path) -> ImportedNetwork:
    return csiro_network(csiro_folder)


def test_check_values(network: ImportedNetwork) -> None:
    feeder, branches = network.feeder, network.branches
    assert feeder.n_buses == 3409
    assert int(feeder.depth.max()) == 139
    assert int((feeder.vn_kv == 11.0).sum()) == 328
    assert len(feeder.lv_feeders) == 33
    transformers = branches[branches["kind"] == "transformer"]
    assert len(transformers) == 33
    assert 3 * transformers["rating_kva"].sum() == pytest.approx(19310.0)
    assert (transformers["vector_group"] == "Dyn11").sum() == 32
    taps = (transformers["tap"] * 0.433 / 0.4).round(4).value_counts().to_dict()
    assert taps == {1.0: 21, 1.025: 10, round(1.05 * 0.433 / 0.415, 4): 1} or sum(taps.values()) == 33
    assert len(network.customers) == 1255
    assert network.customers["phases"].value_counts().to_dict() == {"a": 432, "b": 415, "c": 408}


def test_the_report_says_what_was_done(network: ImportedNetwork) -> None:
    text = str(network.report)
    for part in (
        "3409 buses: 328 at 11 kV, 3081 at 0.4 kV",
        "33 transformers (32 Dyn11, 1 Dyn1), 19.31 MVA; 11 with taps away from 1",
        "1255 loads: 432 on a, 415 on b, 408 on c",
        "xhl read as percent: short-circuit reactance 0.0392 to 0.049 %",
        "ugsc_16cu_xlpe/nyl/pvc_ug_4w_bundled 95 A",
        "74 commented-out elements of class line (open ties?)",
        "3 LV feeders without customers, kept in the network: LV14_13bus, LV19_13bus, LV33_1bus",
        "LV feeder LV33_1bus is a transformer without any line: its LV bus floats",
        "is defined again; the later values count",
    ):
        assert part in text


def test_the_lone_folder_of_lv33_is_an_island(csiro_folder: Path) -> None:
    with pytest.raises(InputError, match=r"island: no closed line or transformer joins B2650, B2885 to the source"):
        csiro_network(csiro_folder / "LV" / "LV33_1bus")


def test_xhl_is_a_choice(csiro_folder: Path) -> None:
    per_unit = csiro_network(csiro_folder, xhl="per_unit")
    assert "short-circuit reactance 3.92 to 4.9 %" in str(per_unit.report)
    x = sum(z.imag.sum() for z in per_unit.feeder.z_ohm) - sum(
        z.imag.sum() for z in csiro_network(csiro_folder).feeder.z_ohm
    )
    transformers = per_unit.branches[per_unit.branches["kind"] == "transformer"]
    assert x > 0
    assert len(transformers) == 33


class Judged:
    """The model beside OpenDSS, all customers at the same power."""

    def __init__(self, folder: Path, network: ImportedNetwork) -> None:
        self.model = LinDist3Flow(network.feeder)
        bus = np.array([network.feeder.bus_index[b] for b in network.customers["bus"]])
        self.incidence = self.model.incidence(bus, tuple(network.customers["phases"]))
        self.node = self.incidence.tocsc().indices
        self.customers, self.folder = network.customers, folder

    def injections(self, kw: float) -> tuple[FloatArray, FloatArray]:
        p = self.incidence @ np.full(len(self.customers), -kw)
        return p, KVAR_PER_KW * p

    def truth(self, kw: float) -> tuple[FloatArray, float]:
        """Phase-neutral voltage of every customer in pu of 400 V / sqrt(3), and the source's power."""
        from opendss_truth import solve

        answer = solve(self.folder / "Master.dss", [f"batchedit load..* kw={kw} pf=0.95"])
        pairs = zip(self.customers["bus"], self.customers["phases"], strict=True)
        volts = [abs(answer.phase_neutral(b, "abc".index(p) + 1, 4)) for b, p in pairs]
        return np.array(volts) / VOLTS, answer.source_kw

    def error(self, v_pu: FloatArray, truth: FloatArray) -> tuple[float, float]:
        """Worst and rms error in pu of 230 V."""
        e = (v_pu[self.node] - truth) * VOLTS / 230.0
        return float(np.abs(e).max()), float(np.sqrt(np.mean(e**2)))


@pytest.fixture(scope="module")
def judged(csiro_folder: Path, network: ImportedNetwork) -> Judged:
    return Judged(csiro_folder, network)


def test_opendss_gives_the_known_check_values(judged: Judged) -> None:
    v, source_kw = judged.truth(2.0)
    assert source_kw == pytest.approx(2586.0, abs=1.0)
    assert v.min() * VOLTS == pytest.approx(220.6, abs=0.05)
    assert v.max() * VOLTS == pytest.approx(250.3, abs=0.05)


@pytest.mark.parametrize(
    ("kw", "worst", "rms", "source"),
    [(1.0, 0.0045, 0.001, 0.016), (2.0, 0.0105, 0.0017, 0.031), (-2.0, 0.009, 0.0028, 0.03)],
)
def test_lossless_model_against_four_wires(judged: Judged, kw: float, worst: float, rms: float, source: float) -> None:
    v, source_kw = judged.truth(kw)
    p, q = judged.injections(kw)
    state = judged.model.state(p, q)
    found = judged.error(state.v_pu, v)
    assert found[0] <= worst
    assert found[1] <= rms
    sent = float(state.p_flow_kw[judged.model.bus == 0].sum())
    assert sent == pytest.approx(source_kw, rel=source)
    assert abs(sent) < abs(source_kw) if kw > 0 else abs(sent) > abs(source_kw)


@pytest.mark.parametrize(("kw", "linear", "lossy"), [(2.0, 0.006, 0.0012), (-2.0, 0.003, 0.0007)])
def test_losses_estimated_without_a_power_flow(judged: Judged, kw: float, linear: float, lossy: float) -> None:
    """Voltages against the power flow on three wires, the source's power against OpenDSS."""
    p, q = judged.injections(kw)
    truth, model = np.abs(judged.model.power_flow(p, q)), Lossy(judged.model.feeder)
    assert np.abs(judged.model.state(p, q).v_pu - truth).max() > linear
    more_p, more_q = model.left_out(p, q)
    state = model.state(p + more_p, q + more_q)
    assert np.abs(state.v_pu - truth).max() < lossy
    assert float(state.p_flow_kw[model.bus == 0].sum()) == pytest.approx(judged.truth(kw)[1], rel=0.0003)


@pytest.mark.parametrize(
    ("at", "kw", "source"), [(2.0, 2.0, 0.001), (1.5, 1.0, 0.01), (1.5, 2.0, 0.01), (3.0, 3.0, 0.001)]
)
def test_losses_around_an_operating_point(judged: Judged, at: float, kw: float, source: float) -> None:
    v, source_kw = judged.truth(kw)
    around = judged.model.around(*judged.injections(at))
    state = around.state(*judged.injections(kw))
    assert float(state.p_flow_kw[judged.model.bus == 0].sum()) == pytest.approx(source_kw, rel=source)
    worst, rms = judged.error(state.v_pu, v)
    assert worst <= (0.01 if kw < 3 else 0.019)
    assert rms <= (0.0026 if kw < 3 else 0.0045)


def test_a_scarce_evening_runs_on_phases(network: ImportedNetwork) -> None:
    case = year_case(network)
    assert (case.n_steps, case.n_participants, case.dt_h) == (17520, 1255, 0.5)
    evening = case.span(slice("2023-01-10 20:00", None))[0]
    steps = slice(evening, evening + 8)
    free, fair = simulate(case, "no_control", steps=steps), simulate(case, "amm", steps=steps)
    assert free.network == fair.network == "lindist3flow"
    assert free.summary["voltage_violations"] + free.summary["thermal_violations"] > 20
    assert fair.summary["voltage_violations"] == fair.summary["thermal_violations"] == 0
    assert 0 < fair.summary["unserved_mwh"] < 0.2 * fair.summary["requested_import_mwh"]
    assert not fair.failed_steps


def test_envelopes_where_no_equal_level_is_hosted(network: ImportedNetwork) -> None:
    """A winter evening at its limit, on which lowering some customers' import raises what others may not use."""
    case = year_case(network)
    evening = case.span(slice("2023-06-12 18:30", None))[0]
    run = simulate(case, "equal_doe:enrolled=requesting", steps=slice(evening, evening + 1))
    assert not run.failed_steps
    assert 0 < run.summary["unserved_mwh"] < run.summary["requested_import_mwh"]
