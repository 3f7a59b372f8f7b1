"""Parameters from Python: values that do not fit are refused with the parameter, the value and what is allowed."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

import amm_opt as ao
from amm_opt import registry
from amm_opt.errors import InputError
from amm_opt.simulation.forecast import Noisy
from formulations import AMM, DNP, AlphaFair, EqualDOE, FairOverTime, FairUsingHistory, GreedyDOE, Leximin

NOTHING = (None, "a", "2", b"2", [1.0], (1,), {}, object(), 1j, np.nan, np.array([1.0, 2.0]), True, 10**400)
KINDS: dict[str, tuple[Any, str]] = {
    "AMM(kappa)": (AMM, "kappa"),
    "AMM(beta)": (AMM, "beta"),
    "AMM(import_price_max)": (AMM, "import_price_max"),
    "AlphaFair(alpha)": (AlphaFair, "alpha"),
    "DNP(elasticity)": (DNP, "elasticity"),
    "Noisy(sigma)": (Noisy, "sigma"),
    "Scenario(load_scale)": (ao.Scenario, "load_scale"),
    "YearScenario(ev)": (ao.YearScenario, "ev"),
    "PriceCurve(exponent)": (ao.PriceCurve, "exponent"),
}


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("value", NOTHING, ids=lambda v: f"{v!r}"[:12])
def test_no_numbers(what: str, value: Any) -> None:
    kind, name = KINDS[what]
    with pytest.raises(InputError, match=f"{name} = .* must be a number"):
        kind(**{name: value})


@pytest.mark.parametrize("value", [None, "x", 1.0, 1.5, np.nan, True, [1]], ids=str)
def test_no_whole_numbers(value: Any) -> None:
    for kind, name in ((DNP, "seed"), (Noisy, "seed"), (ao.YearScenario, "days"), (ao.YearScenario, "seed")):
        with pytest.raises(InputError, match=f"{name} = .* must be a whole number"):
            kind(**{name: value})


@pytest.mark.parametrize("value", [None, 3, 1.5, b"feeder", ["feeder"]], ids=str)
def test_no_texts(value: Any) -> None:
    kinds = ((Leximin, "per"), (FairOverTime, "per"), (DNP, "per"), (AMM, "priority"), (EqualDOE, "enrolled"))
    for kind, name in (*kinds, (GreedyDOE, "rule"), (AlphaFair, "weight")):
        with pytest.raises(InputError, match=f"{name} = .* must be text"):
            kind(**{name: value})


@pytest.mark.parametrize("window", [-1, 0, None, 1.5, "x", "1.5", "-1D", "0D", "", True, [1], np.nan], ids=str)
def test_no_windows(window: Any) -> None:
    for kind in (FairOverTime, FairUsingHistory):
        with pytest.raises(InputError, match="window = "):
            kind(window=window)


def test_what_fits_is_taken() -> None:
    for value in (2, 2.0, np.float64(2), np.float32(2), np.int64(2)):
        assert AMM(kappa=value).kappa == 2.0
    assert FairOverTime(window=4).horizon == 4
    assert str(registry.mechanism("fot:window=4")) == "fot:window=4"
    made = AMM(kappa=3.0, envelope=EqualDOE())
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), replace(made)):
        assert again == made
    with pytest.raises(InputError, match="envelope = 5 must be a Mechanism or None"):
        AMM(envelope=5)  # type: ignore[arg-type]


def test_infinite_and_unknown_parameters() -> None:
    for name in ("kappa", "rho", "import_price_max"):
        with pytest.raises(InputError, match=f"{name} = inf must be a finite number"):
            AMM(**{name: np.inf})
    with pytest.raises(InputError) as caught:
        AMM(kapa=2, rho="x")  # type: ignore[call-arg,arg-type]
    assert [word in str(caught.value) for word in ("unknown parameter 'kapa'", "kappa, rho", "rho = 'x'")] == [True] * 3
    with pytest.raises(InputError, match="3 parameters are given, there are 1"):
        Leximin("feeder", 1, 2)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Foreign(ao.Mechanism[Any]):
    """A stranger's mechanism, without checks of its own."""

    name: ClassVar[str] = "foreign"

    cap_kw: float = np.inf
    share: float | None = None
    kind: Literal["a", "b"] = "a"
    on: bool = True
    requests: int | str = "1D"
    names: tuple[str, ...] = field(default_factory=tuple)
    anything: Any = None


def test_strangers_dataclasses_profit() -> None:
    assert Foreign(cap_kw=np.inf, share=None, anything=object()).on
    for given in ({"cap_kw": "x"}, {"cap_kw": -np.inf}, {"share": "x"}, {"kind": "c"}, {"on": "yes"}, {"names": 5}):
        with pytest.raises(InputError, match=f"foreign: {next(iter(given))} = "):
            Foreign(**given)  # type: ignore[arg-type]


SCRIPT = """
from dataclasses import dataclass
from amm_opt import Mechanism
@dataclass(frozen=True)
class Needs(Mechanism):
    level: float
    share: float | None = None
    count: int | None = None
    def program(self, step): return None
"""


def test_specs_of_strangers(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(SCRIPT)
    made: Any = registry.mechanism(f"{path}:Needs:level=2,share=0.5,count=none")
    assert (made.level, made.share, made.count) == (2.0, 0.5, None)
    with pytest.raises(InputError, match="level must be given"):
        registry.mechanism(f"{path}:Needs")
    for spec in ("level=x", "level=1,share=x", "level=1,count=1.5", "level=nan"):
        with pytest.raises(InputError, match=r"is not a (whole )?number|must be"):
            registry.mechanism(f"{path}:Needs:{spec}")


@pytest.mark.parametrize("said", [None, 5, "x", np.zeros((2, 2)), ("a", "b")], ids=lambda v: str(type(v)))
def test_forecasts_that_return_nonsense(said: Any) -> None:
    case = ao.load_case("synthetic:buses=10,days=1")
    with pytest.raises(InputError, match=r"the forecast at .* not a Requests"):
        ao.simulate(case, "no_control", steps=2, forecast=lambda c, now, stop: said)


@pytest.mark.parametrize("values", [np.nan, -1.0, 1j, "x", np.zeros(3), None], ids=str)
def test_forecasts_with_wrong_numbers(values: Any) -> None:
    case = ao.load_case("synthetic:buses=10,days=1")

    def wrong(c: ao.Case, now: int, stop: int) -> ao.Requests:
        w = c.requests(now, stop)
        array = values if isinstance(values, np.ndarray) else np.full(w.export_request_kw.shape, values)
        object.__setattr__(w, "export_request_kw", array)
        return w

    with pytest.raises(InputError, match="the forecast at"):
        ao.simulate(case, "no_control", steps=2, forecast=wrong)
