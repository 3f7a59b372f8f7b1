"""Forecasts: what a mechanism believes of the intervals to come when it plans them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from amm_opt.cases import Case, Requests
from amm_opt.cases.times import is_length
from amm_opt.errors import InputError, Problems, counted, unknown
from amm_opt.fields import Checked, shortened
from amm_opt.specs import read_options

Forecast = Callable[[Case, int, int], Requests]
"""``forecast(case, now, stop)``: the intervals ``now .. stop - 1`` as they are believed to be just before ``now``."""


@dataclass(frozen=True)
class Perfect:
    """Everything is known beforehand."""

    def __call__(self, case: Case, now: int, stop: int) -> Requests:
        """What will happen."""
        return case.requests(now, stop)


@dataclass(frozen=True)
class Persistence:
    """Tomorrow will be as the last 24 hours; the first 24 hours of a case, before which nothing is known, are known."""

    def __call__(self, case: Case, now: int, stop: int) -> Requests:
        """The last 24 hours, repeated."""
        day = round(24 / case.dt_h)
        if now < day:
            return case.requests(now, stop)
        past = case.requests(now - day, now).select(np.arange(stop - now) % day)
        return replace(past, start=now, times=case.times[now:stop])


@dataclass(frozen=True)
class Noisy(Checked):
    """What will happen, times 1 + sigma e (at least 0), e standard normal for each participant, interval and quantity.

    Reactive power with series of its own has the errors of inflexible load.
    The same ``now`` and ``seed`` give the same forecast.
    """

    sigma: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sigma) and self.sigma >= 0):
            raise InputError(f"noisy forecast: sigma = {self.sigma} must not be negative")
        if self.seed < 0:
            raise InputError(f"noisy forecast: seed = {self.seed} must not be negative")

    def __call__(self, case: Case, now: int, stop: int) -> Requests:
        """What will happen, with errors."""
        w = case.requests(now, stop)
        shape = (stop - now, 3, case.n_participants)
        factor = np.maximum(0.0, 1.0 + self.sigma * np.random.default_rng([self.seed, now]).standard_normal(shape))
        load, imports, exports = factor.swapaxes(0, 1)
        return replace(
            w,
            inflexible_kw=w.inflexible_kw * load,
            import_request_kw=w.import_request_kw * imports,
            export_request_kw=w.export_request_kw * exports,
            inflexible_kvar=None if w.inflexible_kvar is None else w.inflexible_kvar * load,
        )


_KINDS: dict[str, Callable[..., Forecast]] = {"perfect": Perfect, "persistence": Persistence, "noisy": Noisy}


def as_forecast(item: Forecast | str | None) -> Forecast | None:
    """A forecast from its spec, such as ``noisy:sigma=0.2,seed=1``; None where it is perfect.

    Raises:
        InputError: an unknown kind or parameter, with the valid choices.
    """
    if isinstance(item, str):
        name, _, rest = item.partition(":")
        if name not in _KINDS:
            raise unknown("forecast", name, list(_KINDS))
        said = Problems()
        options = read_options(rest, {"sigma": float, "seed": int} if name == "noisy" else {}, f"forecast {name}", said)
        said.report()
        item = _KINDS[name](**options)
    if isinstance(item, type) and item in _KINDS.values():
        return as_forecast(item())
    if item is not None and not _takes_three(item):
        raise InputError(f"{item!r} is not a forecast; give one of {', '.join(_KINDS)} or a function (case, now, stop)")
    return None if isinstance(item, Perfect) else item


def _takes_three(item: object) -> bool:
    """Whether something can be called as ``item(case, now, stop)``; a class makes objects and is no forecast."""
    if not callable(item) or isinstance(item, type):
        return False
    try:
        inspect.signature(item).bind(None, 0, 1)
    except TypeError:
        return False
    except ValueError:  # it does not say what it takes
        return True
    return True


def believed(forecast: Forecast, case: Case, now: int, stop: int) -> Requests:
    """Call a forecast and check what it says.

    Raises:
        InputError: where its arrays do not fit the intervals, or requests are negative or not finite.
    """
    w = forecast(case, now, stop)
    at = f"the forecast at {case.times[now]}"
    if not isinstance(w, Requests):
        raise InputError(f"{at} is {shortened(w)}, not a Requests")
    shape = (stop - now, case.n_participants)
    names = ["inflexible_kw", "import_request_kw", "export_request_kw"]
    for name in [*names, "inflexible_kvar"] if case.profiles.has_kvar else names:
        try:
            values = np.asarray(getattr(w, name))
            values = values.astype(float) if not np.iscomplexobj(values) else values * np.nan
        except (ValueError, TypeError) as error:
            raise InputError(f"{at} has {name} that are no numbers: {error}") from error
        if values.shape != shape:
            raise InputError(f"{at} has {name} of shape {values.shape}, not {shape}")
        if not np.all(np.isfinite(values)) or ("request" in name and np.any(values < 0)):
            raise InputError(f"{at} has {name} that is negative or not a number")
    if w.start != now or len(w.times) != stop - now:
        raise InputError(
            f"{at} is of {counted(len(w.times), 'interval')} from number {w.start}, not {stop - now} from {now}"
        )
    return w


def intervals(value: int | str, dt_h: float, steps: int, what: str) -> int:
    """A number of intervals from a number, a length of time such as ``1D``, or ``all``.

    Raises:
        InputError: where it is none of them, or not a whole number of intervals.
    """
    if value == "all":
        return steps
    if not is_length(value):
        raise InputError(f"{what} = {value!r} must be a number of intervals, a time such as 1D, or all")
    text = str(value).strip()
    count = float(text) if text.isdecimal() else pd.Timedelta(text) / pd.Timedelta(hours=dt_h)
    if not (count >= 1 and abs(count - round(count)) < 1e-9):
        raise InputError(f"{what} = {value!r} is not a whole number of intervals of {60 * dt_h:g} minutes")
    return round(count)
