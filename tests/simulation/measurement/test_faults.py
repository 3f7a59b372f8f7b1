"""Kinds of errors: what each makes of readings and networks, texts, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small import one_transformer, rebuilt, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.margins.margin import KINDS as MARGINS
from amm_opt.registry import network_of
from amm_opt.simulation.measurement import KINDS, Drop, Measurement, Noise, as_measurement, draws
from amm_opt.study.cli import main
from amm_opt.testing.cases import small_case as scarce_case


def test_published_numbers() -> None:
    """SplitMix64 with the seed 1234567: Rosetta Code, "Pseudo-random numbers/Splitmix64"."""
    made = draws.bits(np.array([1234567], dtype=np.uint64), np.arange(5, dtype=np.uint64))[:, 0]
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [int(k) for k in made] == known


def test_draws() -> None:
    names = [f"p{k}" for k in range(200)]
    e = draws.normal(3, "x", names, 10, 60)
    assert abs(e.mean()) < 0.04
    assert abs(e.std() - 1) < 0.03
    assert np.abs(np.corrcoef(e[:, :2].T)[0, 1]) < 0.5
    assert_array_equal(draws.normal(3, "x", names[::-1], 20, 30), e[10:20, ::-1])
    for other in (draws.normal(4, "x", names, 10, 60), draws.normal(3, "y", names, 10, 60)):
        assert abs(np.corrcoef(e.ravel(), other.ravel())[0, 1]) < 0.05


def seen(case: Case, text: str, start: int = 0, stop: int | None = None) -> ao.Requests:
    return Measurement.read(text).requests(case, start, case.n_steps if stop is None else stop)


def test_noise() -> None:
    """Of 300 participants: relative and absolute spread, none where nothing is asked for."""
    n = 300
    case = one_transformer(1e3, [2.0] * n, [8.0] * (n - 1) + [0.0], [0.0] * n, connection_import_kw=1e3)
    w = seen(case, "noise:sigma=0.1,seed=5")
    assert w.inflexible_kw.std() == pytest.approx(0.2, rel=0.1)
    assert w.import_request_kw[:, :-1].std() == pytest.approx(0.8, rel=0.1)
    assert not w.import_request_kw[:, -1].any()
    assert not w.export_request_kw.any()
    w = seen(case, "noise:kw=0.5,of=load")
    assert w.inflexible_kw.std() == pytest.approx(0.5, rel=0.1)
    assert_array_equal(w.import_request_kw[:, :-1], 8.0)
    assert seen(case, "noise:sigma=2").import_request_kw.min() >= 0
    assert np.any(seen(case, "noise:sigma=0.1,seed=6").inflexible_kw != seen(case, "noise:sigma=0.1").inflexible_kw)


def test_bias() -> None:
    case = one_transformer(1e3, [-2.0, 1.0], [8.0, 0.0], [0.0, 3.0])
    w = seen(case, "bias:share=0.25,kw=0.5")
    assert_array_equal(w.inflexible_kw[0], [-2.0, 1.75])
    assert_array_equal(w.import_request_kw[0], [10.5, 0.0])
    assert_array_equal(w.export_request_kw[0], [0.0, 4.25])
    assert_array_equal(seen(case, "bias:kw=-9,of=requests").both_kw[:, 0], np.zeros((2, 2)))


STEPS, MANY = 90, 40


def counting() -> Case:
    """Readings that say in which interval they were made, from 1 on."""
    number = np.arange(1.0, STEPS + 1)[:, None] * np.ones(MANY)
    return one_transformer(1e6, number, number, 0 * number, connection_import_kw=500.0)


def test_dropped_readings() -> None:
    """The last one that came: this interval's, or the same as in the interval before."""
    case = counting()
    w = seen(case, "drop:rate=0.3,seed=2")
    made = w.inflexible_kw - 1
    now = np.arange(STEPS)[:, None]
    assert_array_equal(w.import_request_kw, w.inflexible_kw)
    assert_array_equal(made[0], 0.0)
    assert np.all((made[1:] == now[1:]) | (made[1:] == made[:-1]))
    assert np.mean(made[1:] < now[1:]) == pytest.approx(0.3, abs=0.03)
    assert_array_equal(seen(case, "drop:rate=0.3,seed=2", 40, 60).inflexible_kw, w.inflexible_kw[40:60])
    assert_array_equal(seen(case, "drop:rate=1", 80, 90).inflexible_kw, 1.0)
    of_load = seen(case, "drop:rate=0.3,seed=2,of=load")
    assert_array_equal(of_load.inflexible_kw, w.inflexible_kw)
    assert_array_equal(of_load.import_request_kw, case.requests(0, STEPS).import_request_kw)


def test_delayed_and_stale_readings() -> None:
    case = counting()
    assert_array_equal(seen(case, "delay:steps=4").inflexible_kw[:7, 0], [1, 1, 1, 1, 1, 2, 3])
    assert_array_equal(seen(case, "delay:steps=4", 50, 52).import_request_kw[:, 0], [47, 48])
    w = seen(case, "stale:steps=4", 5, 10)
    assert_array_equal(w.import_request_kw[:, 0], [5, 5, 5, 9, 9])
    assert_array_equal(w.inflexible_kw[:, 0], [6, 7, 8, 9, 10])


def test_one_after_the_other() -> None:
    """A reading that is repeated keeps the error that it had; one that is read anew gets another."""
    case = counting()
    repeated = seen(case, "noise:sigma=0.1+drop:rate=1").inflexible_kw
    assert_array_equal(repeated, np.broadcast_to(repeated[0], repeated.shape))
    assert repeated[0].std() > 0
    assert seen(case, "drop:rate=1+noise:sigma=0.1").inflexible_kw[:, 0].std() > 0


def test_impedances() -> None:
    case = scarce_case(False)
    scaled = Measurement.read("impedance:scale=1.25").believed(case)
    for mine, other in zip(case.feeder.z_ohm, scaled.feeder.z_ohm, strict=True):
        assert_allclose(other, 1.25 * mine, rtol=1e-12)
    spread = Measurement.read("impedance:sigma=0.2,seed=3").believed(case)
    pairs = zip(case.feeder.z_ohm[1:], spread.feeder.z_ohm[1:], strict=True)
    factors = [b.ravel()[np.abs(a.ravel()) > 0] / a.ravel()[np.abs(a.ravel()) > 0] for a, b in pairs]
    of = np.array([f[0].real for f in factors])
    assert all(np.allclose(f, f[0]) for f in factors)
    assert len(set(of.round(9))) == len(of)
    assert_array_equal(spread.feeder.rating_kva, case.feeder.rating_kva)


def test_taps() -> None:
    """A ratio of 1.05 on the source's side gives 1 / 1.05 on the other, without any load."""
    lines = {"lv": ("src", 0.01, 100.0)}
    case = small_case(lines, ["lv"], [0.0], [1.0], [0.0])
    with pytest.raises(ao.InputError, match="has no transformer"):
        Measurement.read("tap:ratio=1.05").believed(case)
    case = rebuilt(case, branches=case.tables()["branches"].assign(kind="transformer"))
    for text in ("tap:ratio=1.05", "tap:ratio=1.05,branch=to-lv"):
        model = network_of(Measurement.read(text).believed(case), None)
        assert model.state(np.zeros(2), np.zeros(2)).v_pu[1] == pytest.approx(1 / 1.05)


def ring() -> Case:
    """b is fed through a; a branch from the source is open."""
    case = small_case({"a": ("src", 0.1, 10.0), "b": ("a", 0.1, 10.0)}, ["a", "b"], [0, 0], [8.0, 8.0], [0, 0])
    tie = pd.DataFrame({"name": ["tie"], "from_bus": ["src"], "to_bus": ["b"], "kind": ["switch"], "closed": [False]})
    tie = tie.assign(r_ohm=0.0, x_ohm=0.0, rating_kva=10.0)
    return rebuilt(case, branches=pd.concat([case.tables()["branches"], tie], ignore_index=True))


def test_switches() -> None:
    """10 kVA feed both; where b is believed to be fed from the source, all 16 kW are let through."""
    case = ring()
    run = ao.simulate(case, "amm", measurement="switch:open=to-b,close=tie")
    assert_allclose(run.allocation.import_kw, 8.0)
    assert run.summary["worst_thermal_excess_pct"] == pytest.approx(60.0, rel=1e-5)
    assert_allclose(ao.simulate(case, "amm").allocation.import_kw, 5.0, rtol=1e-6)


def test_phases_and_feeders() -> None:
    case = scarce_case(False)
    one = Measurement.read("phase:customer=p3,to=b").believed(case)
    assert [(a, b) for a, b in zip(case.phases, one.phases, strict=True) if a != b] == [("c", "b")]
    every = Measurement.read("phase:rate=1").believed(case)
    assert all(a != b or len(a) == 3 for a, b in zip(case.phases, every.phases, strict=True))
    every = Measurement.read("feeder:rate=1").believed(case)
    below = case.lv_feeder >= 0
    assert np.all((every.lv_feeder != case.lv_feeder) == below)
    assert set(every.bus[below]) <= set(case.bus)
    assert_array_equal(every.lv_feeder[~below], case.lv_feeder[~below])


def test_texts_are_read_back() -> None:
    text = "noise:sigma=0.05,of=load,seed=1+drop:rate=0.02+memory:at=7,back=False+switch:open=a b"
    assert str(Measurement.read(text)) == text
    assert Measurement.read("noise:sigma=1e-3+drop") == Measurement((Noise(sigma=0.001), Drop()))
    assert as_measurement(None) is None
    assert as_measurement([Noise(), Drop()]) == as_measurement("noise+drop")


BAD = {
    "": "unknown measurement ''; valid choices: bias, delay, drop",
    "nois:sigma=1": "unknown measurement 'nois'",
    "noise:sigma=-0.1": "noise: sigma = -0.1 must not be negative",
    "noise:sigma=nan": "must be a",
    "noise:seed=-1": "seed = -1",
    "noise:of=loads": "of = 'loads' must be one of 'all', 'load', 'requests'",
    "noise:gamma=1": "unknown parameter of measurement noise 'gamma'",
    "bias:share=-2": "share = -2.0 must be at least -1",
    "drop:rate=1.5": "drop: rate = 1.5 must be within 0 and 1",
    "message:rate=-0.1": "message: rate = -0.1",
    "message:import_kw=-1": "import_kw = -1.0 must not be negative",
    "delay:steps=0.5": "steps = '0.5' is not a whole number",
    "delay:steps=-1": "delay: steps = -1",
    "stale:steps=0": "stale: steps = 0 must be at least 1",
    "impedance:scale=0": "scale = 0.0 must be positive",
    "tap:ratio=0": "ratio = 0.0 must be positive",
    "tap:ratio=1.1,branch=x": "unknown transformer 'x'",
    "phase": "give rate, or customer and to",
    "phase:customer=p0": "give rate, or customer and to",
    "phase:customer=nobody,to=b": "unknown customer 'nobody'",
    "phase:customer=p0,to=d": "'p0' cannot be on phase 'd'; other phases: b, c",
    "feeder:customer=p0,to=Z": "unknown LV feeder 'Z'",
    "feeder:customer=p0,to=A": "no other LV feeder has customers",
    "feeder:rate=0.1,to=A": "give rate, or customer and to",
    "switch": "give the branch",
    "switch:open=x": "unknown branch 'x'",
    "switch:open=to-a2": "island",
    "memory:at=1,older=2": "older = 2 is before the first interval",
    "memory:at=4,steps=3+memory:at=6": "before the last one is restored",
    "noise:sigma=-1+drop:rate=2": "drop: rate = 2.0",
    "noise+delay:steps=16": "delay: steps = 16 is beyond the 16 intervals of case small; at most 15",
    "stale:steps=17": "stale: steps = 17 is beyond the 16 intervals of case small; at most 16",
    "memory:at=16": "memory: at = 16 is beyond",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_texts(text: str) -> None:
    with pytest.raises(ao.InputError) as error:
        Measurement.read(text).believed(scarce_case(False))
    assert BAD[text] in str(error.value), str(error.value)


@pytest.mark.parametrize("item", [5, [], ["noise"], object(), {"noise": 1}])
def test_what_is_no_measurement(item: Any) -> None:
    with pytest.raises(ao.InputError, match="measurement"):
        ao.simulate(scarce_case(True), "amm", measurement=item)


def test_what_a_balanced_case_does_not_have() -> None:
    with pytest.raises(ao.InputError, match=r"nobody in case .* is on one of several phases"):
        ao.simulate(scarce_case(True), "amm", measurement="phase:rate=0.1")


def test_the_command() -> None:
    words = ["run", "synthetic:buses=20,days=1", "--mechanism", "amm", "--steps", "2", "--measurement"]
    bad = CliRunner().invoke(main, [*words, "drop:rate=2"])
    assert bad.exit_code == 2
    assert "rate = 2.0 must be within 0 and 1" in bad.output
    good = CliRunner().invoke(main, [*words, "noise:sigma=0.1+delay"])
    assert good.exit_code == 0, good.output


def test_every_kind_has_a_text() -> None:
    assert set(KINDS) == {
        *("noise", "bias", "drop", "delay", "stale"),
        *("impedance", "phase", "feeder", "switch", "tap", "memory", "message"),
    }


SCARCE = scarce_case(True)
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1e-300, 1e-12, 1.0, 10.0, 1e6, 1e12]), st.floats(allow_nan=False, allow_infinity=False)
)
OF_ERRORS = ("noise:sigma", "noise:kw", "bias:share", "bias:kw", "drop:rate", "impedance:sigma", "impedance:scale")
OF_ERRORS += ("tap:ratio", "message:rate=1,import_kw", "message:rate=1,export_kw")
OF_MARGINS = tuple(f"{kind}:{name}" for kind in MARGINS for name in ("eps", "sigma", "scale", "joint=true,eps"))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from([*OF_ERRORS, *OF_MARGINS, "scenario:confidence"]), NUMBERS)
def test_whatever_number_runs_or_is_refused_with_its_name(what: str, number: float) -> None:
    """Finite ones of any size: no overflow, no interval without a solution; the sentence has name and value."""
    name, of_margin = re.split("[:,]", what)[-1], what not in OF_ERRORS
    how = {"margin" if of_margin else "measurement": f"{what}={number!r}"}
    said = ""
    try:
        run = ao.simulate(SCARCE, "equal_doe", steps=1, **how)
    except ao.InputError as error:
        said = str(error)
    if said:
        assert any(f"{name}{equals}{value}" in said for equals in (" = ", "=") for value in (number, f"{number:g}"))
    else:
        assert not run.failed_steps
        assert np.isfinite(run.allocation.both_kw).all()


def test_arrays_of_a_margin_are_no_larger_than_a_case_may_be() -> None:
    with pytest.raises(ao.InputError, match=r"samples = .* must be a table of finite numbers of at most 1e\+12"):
        ao.Margin("gaussian", samples=[[1e13], [0.0]])
    with pytest.raises(ao.InputError, match=r"covariance = .* must be a table of finite numbers of at most 1e\+24"):
        ao.Margin("gaussian", covariance=[[1e300]])
    with pytest.raises(ao.InputError, match="draws = 10000000 must be at least 1 and at most 1,000,000"):
        ao.Margin("scenario", draws=10**7)
