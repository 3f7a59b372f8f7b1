"""The AMM on top of an envelope: what everyone has at least, and what is left over."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from small import one_transformer, small_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.registry import mechanism as from_spec
from formulations import AMM, EqualDOE, GreedyDOE, NoControl
from formulations.parts.floor import MARGIN


@lru_cache
def scarce() -> Case:
    return ao.load_case("synthetic:buses=130,days=2,seed=3").with_scenario(import_scale=2.5, capacity_scale=1.5)


def service(run: ao.Run) -> FloatArray:
    """(2, T, n) served import and accepted export."""
    assert not run.failed_steps
    return np.stack([run.allocation.import_kw, run.allocation.export_kw])


ENVELOPES = [EqualDOE(), EqualDOE(enrolled="requesting"), EqualDOE(enrolled="requesting", per="system"), GreedyDOE()]


@pytest.mark.parametrize("rho", [0.0, 1.0])
@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
def test_everyone_has_at_least_the_envelopes_outcome(envelope: ao.Mechanism, rho: float) -> None:
    least = service(ao.simulate(scarce(), envelope))
    run = ao.simulate(scarce(), AMM(rho=rho, alpha=0, envelope=envelope))
    assert np.all(service(run) >= (1 - 1.1 * MARGIN) * least - 1e-9)
    assert service(run).sum() > 1.02 * least.sum()
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    # without the floor the market takes from some what the envelope would have given them
    free = service(ao.simulate(scarce(), AMM(rho=rho, alpha=0)))
    if isinstance(envelope, EqualDOE):
        assert np.min(free - least) < -0.5
    assert free.sum() >= service(run).sum() * (1 - 1e-3)


def test_what_is_left_over_goes_by_the_market() -> None:
    """30 kVA, four enrolled, limits of 7.5 kW: the one who asks for less leaves 5.5 kW and the idle one 7.5."""
    case = one_transformer(30, [0.0] * 4, [40.0, 30.0, 2.0, 0.0], [0.0] * 4)
    everybody = EqualDOE(enrolled="all")
    floor = np.array([7.5, 7.5, 2.0, 0.0])
    alone, under = (ao.simulate(case, m, steps=1).allocation.import_kw[0] for m in (AMM(), everybody))
    np.testing.assert_allclose(under, floor, atol=1e-6)
    share = 30 / 72
    np.testing.assert_allclose(alone, share * np.array([40, 30, 2, 0]), atol=1e-6)
    # the third is at its floor of 2, the other two share 28 in proportion to their requests
    found = ao.simulate(case, AMM(envelope=everybody), steps=1).allocation.import_kw[0]
    np.testing.assert_allclose(found, [16, 12, 2, 0], atol=2 * MARGIN * 2)


def test_an_envelope_that_is_not_hosted_is_cut_back() -> None:
    """Own generation at another power factor: net power is inside the envelope, its reactive power is not."""
    kw = {"power_factor_import": 0.8, "power_factor_export": 1.0}
    case = one_transformer(10, [0.0, 0.0], [20.0, 10.0], [20.0, 1.0], **kw)
    envelope = ao.simulate(case, EqualDOE())
    assert not envelope.failed_steps
    assert envelope.repaired_steps == (0, 1)
    run = ao.simulate(case, AMM(envelope=EqualDOE()))
    assert not run.failed_steps
    assert not run.fallback_steps
    assert run.summary["thermal_violations"] == 0
    x, y = service(run)[:, 0]
    assert np.all(service(run)[:, 0] >= service(envelope)[:, 0] * (1 - 2 * MARGIN) - 1e-6)
    assert x[0] > 9
    assert y[0] > 9
    assert x.sum() > 12


@pytest.mark.parametrize("seed", range(6))
def test_without_reactive_power_the_envelopes_outcome_is_hosted(seed: int) -> None:
    """Every limit is monotone in net power then, and net powers lie between the two envelopes' corners."""
    rng = np.random.default_rng(seed)
    lines = {f"b{i}": ("src" if i == 0 else f"b{rng.integers(i)}", rng.uniform(0.02, 0.2), 40.0) for i in range(6)}
    powers = rng.uniform([[[-5]], [[0]], [[0]]], [[[5]], [[30]], [[30]]], (3, 4, 9))
    case = small_case(lines, [f"b{b}" for b in rng.integers(0, 6, 9)], *powers)
    for envelope in (EqualDOE(), EqualDOE(enrolled="requesting"), EqualDOE(per="system")):
        run = ao.simulate(case, envelope)
        assert not run.failed_steps
        assert run.summary["curtailed_mwh"] + run.summary["unserved_mwh"] > 0.01


def test_specs_of_mechanisms_inside_mechanisms() -> None:
    made = from_spec("amm:envelope=equal_doe:enrolled=requesting+per=system,rho=0")
    assert made == AMM(rho=0.0, envelope=EqualDOE(enrolled="requesting", per="system"))
    assert from_spec(str(made)) == made
    assert from_spec("amm:envelope=equal_doe") == AMM(envelope=EqualDOE())
    with pytest.raises(ao.InputError, match=r"unknown mechanism 'doe'; valid choices: .*equal_doe"):
        from_spec("amm:envelope=doe")
    with pytest.raises(ao.InputError, match="unknown parameter of equal_doe 'by'"):
        from_spec("amm:envelope=equal_doe:by=bus")


def test_envelopes_without_memory_and_with_limits_only() -> None:
    with pytest.raises(ao.InputError, match="envelope = amm carries a state"):
        AMM(envelope=AMM())
    with pytest.raises(ao.InputError, match="envelope = no_control does not enforce limits"):
        AMM(envelope=NoControl())
    with pytest.raises(ao.InputError, match="envelope = 'equal_doe' must be a Mechanism or None"):
        AMM(envelope="equal_doe")  # type: ignore[arg-type]
