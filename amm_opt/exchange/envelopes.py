"""Limits of net power at every connection point, interval by interval, from what a run allocated.

With inflexible load d, import x that was served (with what charges a battery) and export y that was accepted (with what
it discharges), a site may draw d + x and feed in y - d, in kW, neither below zero. This is what it can come to with its
own generation off, and with its own flexible load off: every use within what was allocated is inside, and inflexible
load is never cut. Where the mechanism itself sets limits of net power (``own``), x and y are the room that these leave
beside d. Limits are rounded down to whole watts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray, IntArray
from amm_opt.cases.times import unknown_zone
from amm_opt.errors import InputError
from amm_opt.exchange.own import own_room
from amm_opt.fields import is_number, shortened

if TYPE_CHECKING:
    from amm_opt.simulation import Run

ROUNDING_W = 0.01
"""What is short of a whole watt by less than this is that watt: profiles may be in single precision."""
LARGEST_DEFAULT_W = 1e12
LARGEST = 2_000_000
"""Rows, of one site and one interval each, that are exported at once."""
ID_DIGITS = 32
ALLOCATION, MECHANISM, CUT_BACK, FAILED = "allocation", "mechanism", "cut_back", "failed"


@dataclass(frozen=True, eq=False)
class Envelopes:
    """Limits of n sites in T intervals; import first wherever there are two.

    Attributes:
        sites: names of the participants, in the order of the case.
        start: (T,) starts of the intervals, in UTC.
        duration_s: length of every interval.
        limit_w: (2, T, n) largest net power drawn, and fed in, at the connection point: all phases together, whole
            watts, >= 0.
        default_w: (2, n) the limits that hold where none was received, or it has run out.
        price_per_kwh: (2, T, n) prices in the case's currency, NaN where an interval has none; None without prices.
        calculation_id: 32 hexadecimal digits, the same for the same run.
        title: what was run, in words.
        bases: (2, T) where the limits of each interval come from: ``mechanism``, which sets limits of net power itself;
            ``allocation``, what each site was served of what it asked for; ``cut_back``, what was left of an allocation
            that broke a limit; ``failed``, where nobody was served and inflexible load is all there is.
        claim: what the run claims of the network's limits, in words; empty where it claims nothing.
    """

    sites: tuple[str, ...]
    start: pd.DatetimeIndex
    duration_s: int
    limit_w: IntArray
    default_w: IntArray
    price_per_kwh: FloatArray | None
    calculation_id: str
    title: str
    bases: NDArray[np.str_]
    claim: str = ""

    @property
    def basis(self) -> str:
        """``mechanism`` where it sets any of the limits itself, else ``allocation``."""
        return MECHANISM if (self.bases == MECHANISM).any() else ALLOCATION

    @cached_property
    def start_text(self) -> tuple[str, ...]:
        """Starts as ISO 8601, such as ``2016-05-02T00:00:00Z``."""
        return tuple(self.start.strftime("%Y-%m-%dT%H:%M:%SZ"))

    @cached_property
    def start_s(self) -> tuple[int, ...]:
        """Starts in seconds since 1970-01-01 00:00 UTC."""
        return tuple(int(t.timestamp()) for t in self.start)

    @property
    def table(self) -> pd.DataFrame:
        """A row for every interval and site, all sites of the first interval first.

        Columns: ``site``, ``start_utc`` (ISO 8601), ``duration_s``, ``import_limit_w``, ``export_limit_w``,
        ``default_import_limit_w``, ``default_export_limit_w``, ``import_basis``, ``export_basis`` (``bases``), with
        prices ``import_price_per_kwh`` and ``export_price_per_kwh``, and ``calculation_id``.
        """
        times, n = len(self.start), len(self.sites)
        columns: dict[str, object] = {
            "site": np.tile(np.array(self.sites, dtype=object), times),
            "start_utc": np.repeat(np.array(self.start_text, dtype=object), n),
            "duration_s": self.duration_s,
        }
        for direction, limit in zip(DIRECTIONS, self.limit_w, strict=True):
            columns[f"{direction}_limit_w"] = limit.ravel()
        for direction, default in zip(DIRECTIONS, self.default_w, strict=True):
            columns[f"default_{direction}_limit_w"] = np.tile(default, times)
        for direction, basis in zip(DIRECTIONS, self.bases, strict=True):
            columns[f"{direction}_basis"] = np.repeat(basis.astype(object), n)
        if self.price_per_kwh is not None:
            for direction, price in zip(DIRECTIONS, self.price_per_kwh, strict=True):
                columns[f"{direction}_price_per_kwh"] = price.ravel()
        return pd.DataFrame({**columns, "calculation_id": self.calculation_id})


def envelopes(
    run: Run,
    steps: int | str | slice | None = None,
    *,
    timezone: str | None = None,
    default_import_w: float | None = None,
    default_export_w: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Envelopes:
    """Limits and prices of every site from a run (docs/envelopes-out.md).

    Args:
        steps: which of the run's intervals, as for ``Run.voltages``.
        timezone: IANA name of the zone of the case's times, where the case names none.
        default_import_w, default_export_w: limits of every site where none was received. By default import of the
            site's largest inflexible load in these intervals, and export of what of it must run: no flexible use.
        progress: called with (intervals done, all) where the limits of a mechanism are found again.

    Raises:
        SolveError: where the limits that a mechanism sets are not found again.
        InputError: where intervals are not inside the run, the zone is unknown or not the case's, a default is
            negative, intervals are no whole number of seconds, or there are more than 2 million rows.
    """
    case, (first, stop) = run.case, run.chosen(steps)
    if (count := (stop - first) * case.n_participants) > LARGEST:
        raise InputError(f"{count:,} rows of a site and an interval are too many ({LARGEST:,}): choose fewer intervals")
    seconds = case.dt_h * 3600
    if abs(seconds - round(seconds)) > 1e-6:
        raise InputError(f"intervals of {seconds:g} s: limits are sent for whole seconds")
    asked = case.requests(first, stop, waits=run.waits)
    allocated = run.allocation.select(slice(first - run.first, stop - run.first))
    load_kw, own = asked.inflexible_kw, own_room(run, asked, allocated, progress)
    flexible_kw = np.stack([allocated.drawn_kw, allocated.injected_kw]) if own is None else own[0]
    limit_w = _whole(np.stack([load_kw + flexible_kw[0], flexible_kw[1] - load_kw]))
    default_w = _whole(np.stack([load_kw, -load_kw]).max(axis=1))
    for k, (direction, given) in enumerate(zip(DIRECTIONS, (default_import_w, default_export_w), strict=True)):
        if given is not None:
            if not is_number(given) or not 0 <= given <= LARGEST_DEFAULT_W:
                raise InputError(f"default_{direction}_w = {shortened(given)} must be a number of watts, 0 to 1e12")
            default_w[k] = int(given)
    prices = (allocated.import_price, allocated.export_price)
    start = run.times[first - run.first : stop - run.first]
    return Envelopes(
        sites=tuple(map(str, case.participant_names)),
        start=start.tz_localize(_zone(case.name, case.timezone, timezone)).tz_convert("UTC"),
        duration_s=round(seconds),
        limit_w=limit_w,
        default_w=default_w,
        price_per_kwh=_prices(prices, load_kw.shape),
        calculation_id=calculation_id(run),
        title=f"{run.mechanism} on {case.name}",
        bases=_bases(run, first, stop, None if own is None else own[1]),
        claim="" if run.claim is None else f"{run.claim.rung}, {run.claim.words}",
    )


def _bases(run: Run, first: int, stop: int, sets: BoolArray | None) -> NDArray[np.str_]:
    """(2, T) where limits come from; ``sets``: whether the mechanism does."""
    steps = np.arange(first, stop)
    bases = np.full((2, len(steps)), ALLOCATION, dtype="U10")
    if sets is not None:
        bases[sets] = MECHANISM
    bases[:, np.isin(steps, run.repaired_steps)] = CUT_BACK
    bases[:, np.isin(steps, list(run.failed_steps))] = FAILED
    return bases


def calculation_id(run: Run) -> str:
    """32 hexadecimal digits of the SHA-256 of all that the run depends on."""
    about = json.dumps(run.manifest["inputs"], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:ID_DIGITS]


def _whole(kw: FloatArray) -> IntArray:
    """Whole watts, rounded down, at least 0."""
    return np.floor(np.maximum(kw * 1000.0, 0.0) + ROUNDING_W).astype(np.int64)


def _prices(prices: tuple[FloatArray | None, FloatArray | None], shape: tuple[int, ...]) -> FloatArray | None:
    if all(p is None for p in prices):
        return None
    return np.stack([np.full(shape, np.nan) if p is None else p for p in prices])


def _zone(case: str, own: str, given: str | None) -> ZoneInfo:
    """The zone of a case's times."""
    if own and given is not None and given != own:
        raise InputError(f"timezone {given!r} is not that of case {case!r}, {own!r}")
    name = own or given
    if not name:
        raise InputError(f"case {case!r} does not say in which time zone its times are: give timezone, such as Etc/UTC")
    if problem := unknown_zone(name):
        raise InputError(problem)
    return ZoneInfo(name)
