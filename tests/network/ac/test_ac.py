"""AC truth: the replay of a run against closed forms, what is unavoidable, and allocations made AC-feasible."""

from __future__ import annotations

import json
import math
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small import small_case

import amm_opt as ao
from amm_opt.network import ACNetwork, ACState
from amm_opt.simulation import replay as replay_module
from amm_opt.simulation.loop import secure
from amm_opt.simulation.stored.digest import sealed
from amm_opt.study.cli import main
from formulations import AMM, EqualDOE, NoControl

SYNTHETIC = "synthetic:buses=150,days=2,seed=1"
OHM, X_OHM = 0.08, 0.03
"""At 0.4 kV: 5e-4 and 1.875e-4 per kW."""


def exact(p_kw: float, q_kvar: float, r_ohm: float = OHM, x_ohm: float = X_OHM) -> tuple[float, float, float]:
    """One branch from 1.0 pu that delivers p, q: voltage (pu), sent active power (kW) and sent apparent power (kVA).

    w^2 - (1 - 2 (r p + x q)) w + |z|^2 s^2 = 0 with z per kW.
    """
    r, x = r_ohm / 160.0, x_ohm / 160.0
    b, c = 1.0 - 2.0 * (r * p_kw + x * q_kvar), (r**2 + x**2) * (p_kw**2 + q_kvar**2)
    w = (b + math.sqrt(b**2 - 4.0 * c)) / 2.0
    square = (p_kw**2 + q_kvar**2) / w
    return math.sqrt(w), p_kw + r * square, math.hypot(p_kw + r * square, q_kvar + x * square)


def one_line(inflexible: Any, imports: Any, exports: Any, rating: float = 200.0, **columns: Any) -> ao.Case:
    lines = {"lv": ("src", OHM, rating)}
    return small_case(lines, ["lv"] * np.shape(imports)[-1], inflexible, imports, exports, x_ohm=X_OHM, **columns)


def test_replay_against_the_closed_form() -> None:
    """Two intervals: 60 kW at pf 0.9 over one line, and 40 kW exported."""
    case = one_line([[20.0], [0.0]], [[40.0], [0.0]], [[0.0], [40.0]], power_factor=0.9)
    run = ao.simulate(case, NoControl(), ac="verify")
    q = 20.0 * math.sqrt(1 / 0.81 - 1)
    (v1, p1, s1), (v2, p2, s2) = exact(60.0, q), exact(-40.0, 0.0)
    r, x = OHM / 160.0, X_OHM / 160.0
    linear = np.sqrt([1 - 2 * (r * 60 + x * q), 1 + 2 * r * 40])
    error = np.abs(linear - [v1, v2])
    s = run.summary
    assert s["ac_losses_mwh"] == pytest.approx((p1 - 60 + p2 + 40) * 0.5 / 1000, rel=1e-6)
    assert s["voltage_error_worst_pu"] == pytest.approx(error.max(), rel=1e-5)
    assert s["voltage_error_rms_pu"] == pytest.approx(math.sqrt(np.mean(error**2)), rel=1e-5)
    # the line's current, at 1 pu of the sent end, is the apparent power there; the model has that at the far end
    flow_error = np.array([s1 - math.hypot(60, q), s2 - 40.0]) / 2.0
    assert s["flow_error_worst_pct"] == pytest.approx(flow_error.max(), rel=1e-5)
    assert s["flow_error_rms_pct"] == pytest.approx(math.sqrt(np.mean(flow_error**2)), rel=1e-5)
    assert (s["ac_thermal_violations"], s["ac_voltage_violations"], s["ac_unsolved_steps"]) == (0, 0, 0)
    assert s["worst_ac_thermal_excess_pct"] == 0.0


def test_violations_that_only_ac_shows() -> None:
    """180 kW within a rating of 181 kVA: losses make it too much at the sent end and the voltage too low."""
    case = one_line([[90.0]], [[90.0]], [[0.0]], rating=181.0, connection_import_kw=200.0)
    s = ao.simulate(case, NoControl(), ac="verify").summary
    v, _, sent = exact(180.0, 0.0)
    assert math.sqrt(1 - 2 * OHM / 160 * 180) > 0.9 > v
    assert (s["thermal_violations"], s["voltage_violations"]) == (0, 0)
    assert (s["ac_thermal_violations"], s["ac_voltage_violations"]) == (2, 2)
    assert s["worst_ac_thermal_excess_pct"] == pytest.approx(100 * (sent / 181 - 1), rel=1e-6)
    assert s["worst_ac_voltage_excess_pu"] == pytest.approx(0.9 - v, rel=1e-6)
    assert s["ac_unavoidable_violations"] == 0


def test_unavoidable_violations_are_counted_apart() -> None:
    """Inflexible load alone is over the rating on AC (not in the model); export relieves it, import makes it worse."""
    loads, imports, exports = [[50.0], [50.0], [50.0]], [[0.0], [0.0], [0.5]], [[0.0], [0.5], [0.0]]
    case = one_line(loads, imports, exports, rating=50.6)
    assert exact(50.0, 0.0)[2] > 50.6 * 1.005
    s = ao.simulate(case, NoControl(), ac="verify").summary
    assert (s["thermal_violations"], s["unavoidable_violations"]) == (0, 0)
    assert (s["ac_thermal_violations"], s["ac_unavoidable_violations"]) == (1, 2)
    secured = ao.simulate(case, AMM(), ac="secure").summary
    assert (secured["ac_thermal_violations"], secured["ac_unavoidable_violations"]) == (0, 3)
    assert secured["curtailed_mwh"] == pytest.approx(0.0, abs=1e-9)


def test_intervals_without_a_solution_are_counted_and_nothing_else_is() -> None:
    """Beyond 1 / (4 r) of what a resistance can deliver, 500 kW here, there is no voltage at all."""
    case = one_line([[0.0], [0.0]], [[60.0], [600.0]], [[0.0], [0.0]], connection_import_kw=1000.0)
    s = ao.simulate(case, NoControl(), ac="verify").summary
    first = ao.simulate(case, NoControl(), steps=slice(0, 1), ac="verify").summary
    assert s["ac_unsolved_steps"] == 1
    for column in ("ac_thermal_violations", "ac_losses_mwh", "voltage_error_worst_pu", "flow_error_rms_pct"):
        assert s[column] == first[column]


def test_heavy_load_that_needs_newton() -> None:
    """The iterative-current method gives up close to collapse; Newton-Raphson goes on. One and many intervals alike."""
    case = one_line([[0.0]], [[0.0]], [[0.0]])
    network = ACNetwork(case.feeder)
    p = np.zeros((3, 2))
    p[:, 1] = [-100.0, -440.0, -900.0]
    many = network.flow(p, np.zeros((3, 2)))
    np.testing.assert_array_equal(many.solved, [True, True, False])
    for k, power in enumerate((100.0, 440.0)):
        one = network.flow(p[k], np.zeros(2))
        assert many.v_pu[k, 1] == pytest.approx(exact(power, 0.0)[0], abs=1e-7)
        assert one.v_pu[1] == pytest.approx(exact(power, 0.0)[0], abs=1e-7)
    assert not network.flow(p[2], np.zeros(2)).solved


@lru_cache
def strained() -> ao.Case:
    """Two days in which the AMM's allocations break thermal and voltage limits on AC."""
    return ao.load_case("synthetic:buses=300,days=2,seed=1").with_scenario(import_scale=1.6, load_scale=1.6)


@lru_cache
def runs() -> tuple[ao.Run, ao.Run]:
    return ao.simulate(strained(), AMM(), ac="verify"), ao.simulate(strained(), AMM(), ac="secure")


def test_blocks_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = runs()
    assert plain.summary["ac_thermal_violations"] > 10
    assert plain.summary["ac_voltage_violations"] > 10
    monkeypatch.setattr(replay_module, "BLOCK_STEPS", 7)
    again = ao.verify(plain, threads=-1)
    np.testing.assert_allclose(again.summary.to_numpy(), plain.summary.to_numpy(), rtol=1e-12)
    assert np.isnan(ao.simulate(plain.case, AMM(), steps=2).summary["ac_thermal_violations"])


def served(run: ao.Run) -> float:
    s = run.summary
    return float(s["requested_import_mwh"] - s["unserved_mwh"] + s["requested_export_mwh"] - s["curtailed_mwh"])


def hosted_on_ac(run: ao.Run) -> bool:
    """The definition, written out with a power flow of its own: nothing beyond the limits and what load alone does."""
    case, w, a = run.case, run.requests, run.allocation
    network = ACNetwork(case.feeder)
    state = network.flow(*case.bus_injections(w.inflexible_kw, a.import_kw, a.export_kw))
    alone = network.flow(*case.bus_injections(w.inflexible_kw, 0.0, 0.0))

    def beyond(s: ACState) -> tuple[np.ndarray, np.ndarray]:
        f = case.feeder
        over = np.maximum(s.v_pu - f.v_max_pu, f.v_min_pu - s.v_pu)
        return (s.s_flow_kva / f.rating_kva - 1.0)[:, 1:], over[:, 1:]

    pairs = zip(beyond(state), beyond(alone), (1e-4, 1e-5), strict=True)
    return all(bool(np.all(after <= np.maximum(before, 0.0) + slack)) for after, before, slack in pairs)


def test_secure_allocations_are_ac_feasible_and_cost_little() -> None:
    plain, secured = runs()
    assert not hosted_on_ac(plain)
    assert hosted_on_ac(secured)
    s = secured.summary
    assert (s["ac_thermal_violations"], s["ac_voltage_violations"], s["failed_steps"]) == (0, 0, 0)
    assert (s["thermal_violations"], s["voltage_violations"], s["repaired_steps"]) == (0, 0, 0)
    assert 0.97 * served(plain) < served(secured) < served(plain)


def test_secure_uses_what_ac_leaves() -> None:
    """One line of 30 kVA: as much import as its sent end can carry; the polygon takes 0.1 % for the reactive losses."""
    case = one_line([[10.0], [5.0]], [[80.0], [80.0]], [[0.0], [0.0]], rating=30.0)
    run = ao.simulate(case, AMM(), ac="secure")
    sent = [exact(d + x, 0.0)[2] for d, x in zip((10.0, 5.0), run.allocation.import_kw[:, 0], strict=True)]
    np.testing.assert_allclose(sent, 30.0, rtol=1.5e-3)
    assert max(sent) <= 30.0 * (1 + 1e-4)


@pytest.mark.parametrize("mechanism", [EqualDOE(enrolled="requesting"), EqualDOE()], ids=str)
def test_secure_envelopes(mechanism: EqualDOE) -> None:
    assert hosted_on_ac(ao.simulate(strained(), mechanism, ac="secure"))


def test_secure_is_the_same_to_the_bit_on_several_processes() -> None:
    case = ao.load_case("synthetic:buses=30,days=29,seed=1")  # more than one shard
    run, two = (ao.simulate(case, EqualDOE(enrolled="requesting"), ac="secure", workers=n) for n in (1, 2))
    np.testing.assert_array_equal(run.allocation.import_kw, two.allocation.import_kw)


def test_without_rounds_the_allocation_is_scaled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = runs()
    monkeypatch.setattr(secure, "ROUNDS", 1)
    monkeypatch.setattr(secure.ACSecurity, "_measured", lambda self, state, u: self._none())
    case = plain.case
    run, free = ao.simulate(case, AMM(alpha=0.0), ac="secure"), ao.simulate(case, AMM(alpha=0.0))
    assert run.summary["repaired_steps"] > 0
    assert hosted_on_ac(run)
    assert np.all(run.allocation.import_kw <= free.allocation.import_kw + 1e-9)
    assert np.all(run.allocation.export_kw <= free.allocation.export_kw + 1e-9)
    assert served(run) > 0.9 * served(free)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ao.simulate(SYNTHETIC, NoControl(), steps=2)
    monkeypatch.setitem(sys.modules, "power_grid_model", None)
    with pytest.raises(ao.InputError, match=r"pip install 'amm-opt\[ac\]'"):
        ao.verify(run)
    with pytest.raises(ao.InputError, match="unknown choice of ac 'safe'; valid choices: secure, verify"):
        ao.simulate(SYNTHETIC, NoControl(), ac="safe")


def test_a_run_is_read_back(tmp_path: Path) -> None:
    plain, _ = runs()
    plain.save(tmp_path / "run")
    back = ao.open_run(tmp_path / "run")
    pd.testing.assert_series_equal(back.summary, plain.summary.astype(float))
    for name in ("import_kw", "export_kw", "import_price", "export_price"):
        np.testing.assert_array_equal(getattr(back.allocation, name), getattr(plain.allocation, name))
    assert (str(back.mechanism), back.network, back.solver, back.audit) == (
        "amm",
        "lindistflow",
        plain.solver,
        plain.audit,
    )
    assert back.times.equals(plain.times)
    again = ao.verify(back)
    np.testing.assert_allclose(again.summary.to_numpy(), plain.summary.to_numpy(), rtol=1e-12)


def test_a_case_in_memory_is_stored_along(tmp_path: Path) -> None:
    case = one_line([[10.0], [5.0]], [[80.0], [80.0]], [[0.0], [0.0]], rating=30.0).with_scenario(
        import_scale=0.5, capacity_scale=1.1
    )
    run = ao.simulate(case, AMM(), ac="verify")
    run.save(tmp_path / "run")
    assert (tmp_path / "run" / "case" / "case.toml").is_file()
    back = ao.verify(ao.open_run(tmp_path / "run"))
    np.testing.assert_allclose(back.summary.to_numpy(), run.summary.to_numpy(), rtol=1e-9)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    plain, _ = runs()
    plain.save(tmp_path / "run")
    folder = tmp_path / "run"
    document = json.loads((folder / "run.json").read_text())

    def refused(change: dict[str, Any], match: str, seal: bool = True) -> None:
        changed = {key: value for key, value in {**document, **change}.items() if key != "digest"}
        text = sealed(changed) if seal else json.dumps({**document, **change})
        (folder / "run.json").write_text(text)
        with pytest.raises(ao.InputError, match=match):
            ao.open_run(folder)

    refused({"format": 9}, "format 9 is not known")
    refused({"solver": "GUROBI"}, "was edited after the run was stored", seal=False)
    refused({"case": {**document["case"], "fingerprint": "0"}}, "is not the one that was run any more")
    refused({"case": {**document["case"], "source": "nowhere"}}, "unknown case 'nowhere'")
    for damage in ({"case": None}, {"failed_steps": {"x": "y"}}, {"audit": {"x": 1}}, {"gap": "x"}):
        refused(damage, "is damaged")
    refused({"steps": 5}, "does not have the intervals")
    for steps in (-1, "a", None, 10**9, 1.5):
        refused({"steps": steps}, "interval|damaged")
        refused({"first": steps}, "interval|damaged")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ao.InputError, match="is damaged"):
        ao.open_run(tmp_path / "run")
    with pytest.raises(ao.InputError, match="is not the folder of a run"):
        ao.open_run(tmp_path)


def command(*args: str) -> Any:
    return CliRunner().invoke(main, list(args))


def test_verify_fills_a_saved_comparison(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = command("compare", SYNTHETIC, "--mechanisms", "no_control,amm", "--steps", "40", "--out", str(out))
    assert made.exit_code == 0, made.output
    before = pd.read_csv(out / "summary.csv")
    assert before["ac_thermal_violations"].isna().all()
    done = command("verify", str(out), "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    after = pd.read_csv(out / "summary.csv")
    assert list(after["mechanism"]) == [r["mechanism"] for r in rows] == ["no_control", "amm"]
    direct = command(
        "compare", SYNTHETIC, "--mechanisms", "no_control,amm", "--steps", "40", "--ac", "verify", "--json"
    )
    for row, other, stored in zip(rows, json.loads(direct.stdout)["rows"], after.to_dict("records"), strict=True):
        for column in ("ac_thermal_violations", "ac_voltage_violations", "ac_losses_mwh", "voltage_error_worst_pu"):
            assert row[column] == pytest.approx(other[column], rel=1e-9)
            assert stored[column] == pytest.approx(other[column], rel=1e-5)
        assert row["claim"] == other["claim"] == stored["claim"]
        assert row["claim_words"] == other["claim_words"] == stored["claim_words"]
        broken = row["ac_thermal_violations"] + row["ac_voltage_violations"] > 0
        assert row["claim"] == ("falsified" if broken else "tested")
    assert set(before["claim"]) != set(after["claim"])
    one = command("verify", str(out / "amm"))
    assert one.exit_code == 0
    assert f"Claim: {rows[1]['claim']}, {rows[1]['claim_words']}: amm" in " ".join(one.output.split())


def test_secure_from_the_command_line(tmp_path: Path) -> None:
    done = command("run", SYNTHETIC, "--mechanism", "amm", "--steps", "48", "--ac", "secure")
    assert done.exit_code == 0, done.output
    assert "AC power flow" in done.output
    for bad in (["verify", str(tmp_path)], ["run", SYNTHETIC, "--mechanism", "amm", "--ac", "perhaps"]):
        assert command(*bad).exit_code == 2
