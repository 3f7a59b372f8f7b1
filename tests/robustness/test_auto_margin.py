"""A margin that is found before the run: by hand on one transformer, stored, gone on with, and refused by name."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from in_process import amm_opt
from small import one_transformer

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.measurement import draws
from amm_opt.study.report.content import asked as reported

TRAIN, STEPS, SIGMA, Z = 48, 120, 0.1, 1.6448536
NOISE = f"noise:sigma={SIGMA},of=load,seed=7"
TIMES = ["seconds", "ms_per_step"]


@cache
def home() -> Case:
    """Half-hours of a home with steady load behind 10 kVA, which asks for more than that leaves."""
    ones = np.ones((STEPS, 1))
    return one_transformer(10.0, 5.0 * ones, 20.0 * ones, 0.0 * ones)


def needed() -> np.ndarray:
    """(STEPS,) what multiple of gaussian:eps=0.05,sigma=0.2 each interval asks for.

    Load L is read as L (1 + s e); 10 kVA less that and less the shift z 0.2 L (1 + s e) is served, and with the real L
    on top 10 kVA are kept where the shift is at least -s e L.
    """
    e = SIGMA * draws.normal(7, "noise of load", [home().participant_names[0]], 0, STEPS)[:, 0]
    return np.asarray(-e / (Z * 0.2 * (1 + e)))


@pytest.mark.parametrize("allowed", [0, 3])
def test_the_smallest_margin_of_a_transformer_by_hand(allowed: int) -> None:
    """The margin that a rate of k intervals asks for is the one of interval k + 1, from the worst on."""
    spec = f"auto:days={TRAIN / 48},rate={allowed / TRAIN}"
    run = ao.simulate(home(), "leximin", steps=slice(TRAIN, None), measurement=NOISE, margin=spec)
    least = max(0.0, float(np.sort(needed()[:TRAIN])[-1 - allowed]))
    found = run.trained
    assert found is not None
    assert least <= found.scale <= least + 0.02 + 1e-4
    assert (found.first, found.intervals, found.on_ac) == (0, TRAIN, False)
    assert found.broken == np.sum(needed()[:TRAIN] > found.scale) <= allowed
    broken = int(np.sum(needed()[TRAIN:] > found.scale))
    assert broken > 0
    assert run.summary["held_out_rate_pct"] == pytest.approx(100 * broken / (STEPS - TRAIN))
    assert run.summary["training_rate_pct"] == pytest.approx(100 * found.broken / TRAIN)
    assert run.summary["margin_scale"] == found.scale
    assert found.tried[0] == (0.0, int(np.sum(needed()[:TRAIN] > 0)))
    assert f"in {found.broken} of 48 training intervals, and in {broken} of 72 of this run" in run.claim.words
    plain = ao.simulate(home(), "leximin", steps=slice(TRAIN, None), measurement=NOISE, margin=run.margin)
    np.testing.assert_array_equal(plain.allocation.import_kw, run.allocation.import_kw)
    assert plain.trained is None
    assert "margin_scale" not in plain.summary


def test_the_span_ends_where_the_run_begins_and_may_be_a_share_of_it() -> None:
    half = ao.simulate(home(), "leximin", steps=slice(100, 120), measurement=NOISE, margin="auto:share=0.5")
    assert half.trained is not None
    assert (half.trained.first, half.trained.intervals) == (90, 10)
    worst = needed()[90:100].max()
    assert worst <= half.trained.scale <= worst + 0.0201
    same = ao.AutoMargin(share=0.5)
    again = ao.simulate(home(), "leximin", steps=slice(100, 120), measurement=NOISE, margin=same)
    assert again.trained == half.trained


def test_no_error_needs_no_margin() -> None:
    run = ao.simulate(
        home(), "leximin", steps=slice(TRAIN, None), measurement="drop:rate=0.5,of=load", margin="auto:days=1"
    )
    assert run.margin is None
    assert run.trained is not None
    assert run.trained.tried == ((0.0, 0),)
    assert "found that no margin is needed" in run.claim.words


def test_on_ac_where_the_run_is_verified_there(tmp_path: Path) -> None:
    pytest.importorskip("power_grid_model")
    how = {"steps": slice(TRAIN, TRAIN + 24), "measurement": NOISE, "ac": "verify"}
    run = ao.simulate(home(), "leximin", margin="auto:days=1", out=tmp_path / "run", **how)
    assert run.trained is not None
    assert run.trained.on_ac
    assert run.ac is not None
    assert run.summary["held_out_rate_pct"] == pytest.approx(100 * run.ac.violations.intervals / 24)
    read = ao.open_run(tmp_path / "run")
    assert (read.trained, str(read.margin), read.claim) == (run.trained, str(run.margin), run.claim)
    assert read.summary.equals(run.summary)


def test_a_run_that_is_gone_on_with_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"steps": slice(TRAIN, None), "measurement": NOISE}
    whole = ao.simulate(home(), "leximin", margin="auto:days=1", out=tmp_path / "run", **how)
    (tmp_path / "run" / "run.json").unlink()
    sorted((tmp_path / "run" / "blocks").glob("*.json"))[-1].unlink()
    with pytest.raises(ao.InputError, match=r"asked is auto:days=0.5 now, and was auto:days=1.0"):
        ao.simulate(home(), "leximin", margin="auto:days=0.5", out=tmp_path / "run", resume=True, **how)
    monkeypatch.setattr("amm_opt.simulation.driver.trained", None)
    again = ao.simulate(home(), "leximin", margin="auto:days=1", out=tmp_path / "run", resume=True, **how)
    np.testing.assert_array_equal(again.allocation.import_kw, whole.allocation.import_kw)
    assert again.summary.drop(TIMES).equals(whole.summary.drop(TIMES))
    assert again.claim == whole.claim


def test_bad_input_is_named() -> None:
    case, steps = home(), slice(TRAIN, None)
    for spec, said in (
        ("auto:rate=1", "margin auto: rate = 1 must be at least 0 and below 1"),
        ("auto:rate=-0.1", "rate = -0.1 must be at least 0"),
        ("auto:days=0", "days = 0 must be above 0"),
        ("auto:days=1e308", "trains on inf intervals before the run, of which case small has 48"),
        ("auto:days=2", "auto:days=2.0 trains on 96 intervals before the run, of which case small has 48"),
        ("auto:share=1e-9", "trains on 7.2e-08 intervals"),
        ("auto:days=1,share=0.5", "give one of them"),
        ("auto:scale=2", "unknown parameter of margin auto 'scale'"),
        ("auto:family=normal", "unknown family of margin auto 'normal'; valid choices: box, cantelli"),
        ("auto:eps=2", "eps = 2 must be between 0 and 1"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.simulate(case, "leximin", steps=steps, measurement=NOISE, margin=spec)
    with pytest.raises(ao.InputError, match="margin auto needs the errors that it is found under: give a measurement"):
        ao.simulate(case, "leximin", steps=steps, margin="auto:days=1")
    with pytest.raises(ao.InputError, match="found by simulate, for a run of its own"):
        ao.violation_rates(ao.simulate(case, "leximin", steps=2), "auto")


def test_where_no_margin_of_the_family_is_enough_it_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    """A tenth of 5 kW is read: the shift is at most 8 x 1.64 x 0.01 x 0.5 kW, and 4.5 are missing."""
    how = {"steps": slice(48, 60), "measurement": "bias:share=-0.9,of=load", "margin": "auto:days=1,sigma=0.01"}
    with pytest.raises(ao.InputError) as said:
        ao.simulate(home(), "leximin", out=tmp_path / "run", **how)
    assert "no multiple of gaussian:sigma=0.01 up to 8 leaves at most 0 % of the 48 training intervals" in str(
        said.value
    )
    assert "48 at 0 times, 48 at 1 times, 48 at 2 times, 48 at 4 times, 48 at 8 times" in str(said.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_finds_a_margin(tmp_path: Path) -> None:
    ao.save_case(home(), tmp_path / "case")
    start = str(home().times[TRAIN])
    asked = ["run", tmp_path / "case", "--mechanism", "leximin", "--start", start, "--measurement", NOISE]
    bad = amm_opt(*asked, "--margin", "auto:days=9")
    assert bad.returncode == 2
    assert "trains on 432 intervals before the run" in bad.stderr
    done = amm_opt(*asked, "--margin", "auto:days=1", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert "in 0 of 48 training intervals" in row["claim_words"]
    assert row["training_rate_pct"] == 0 < row["margin_scale"]
    assert row["held_out_rate_pct"] > 0


def test_a_report_says_what_was_found() -> None:
    how = {"steps": slice(TRAIN, TRAIN + 4), "measurement": NOISE}
    said = dict(reported(ao.compare(home(), ["leximin"], margin="auto:days=1", **how)))
    assert said["margin of leximin"].endswith("found by auto:days=1.0 on 48 intervals from 07 Jan 2030 00:00")
