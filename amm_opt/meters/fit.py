"""Fitting a network of affine rows to meters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import checked_kind, is_number, shortened
from amm_opt.meters.data import MeterData
from amm_opt.meters.fitted import Fit, FittedNetwork, Rows, meter_feeder
from amm_opt.meters.regression import LOSSES, Way, regressed

SOURCES = ("measured", "highest", "none")
HIGHEST = 3
MOST = 1e6
CLOSED_KW = 1e-3
"""What is left of a direction that no readings went in."""
STILL_KW = 1e-6
"""A meter whose power moves by no more tells nothing."""


def fit_network(
    data: MeterData,
    *,
    v_min_pu: float = 0.9,
    v_max_pu: float = 1.1,
    rating_kva: float | None = None,
    eps: float = 0.01,
    ridge: float = 1.0,
    loss: str = "squares",
    signs: bool = True,
    transformer: str | None = None,
    v_transformer_pu: tuple[float, float] | None = None,
    held_out: float = 0.25,
    extrapolation: float | None = None,
) -> FittedNetwork:
    """Affine rows of squared voltages in the powers behind a transformer, from nothing but meters, for ``network=``.

    With P, Q the injections of all meters (what they draw, with the other sign) and W = V_T^2 the transformer's squared
    voltage, each meter i has

        V_i^2 = b_i + sum_j bP_ij P_j + sum_j bQ_ij Q_j + bT_i W + e_i

        minimise  sum_t loss(e_i(t)) + lam (sum_j bP_ij^2 + bQ_ij^2)    with bP, bQ, bT >= 0,

    the signs of a radial network. Squares of voltages are affine in powers where losses are left out (LinDistFlow). In
    a run nobody knows W beforehand, and it rises with what is exported through the transformer. So W is fitted as well,
    W = c + sP sum P + sQ sum Q + u with sP, sQ >= 0, from changes between intervals, and the row of a run is the first
    with this in the place of W; limits move in by the quantiles of its residual e_i + bT_i u. Voltages by regression on
    smart meters: V. Bassi, L. F. Ochoa et al., IEEE Trans. Smart Grid, 2023. Ours: signs, W in runs, quantiles as
    margins (docs/fitted-network.md).

    Args:
        data: readings, by :func:`read_meters` or :func:`synthetic_meters`.
        v_min_pu, v_max_pu: the band of every meter.
        rating_kva: of the transformer, all phases together; None is no limit.
        eps: share of readings that are further above their row than the margin; likewise below.
        ridge: lam, as a share of the mean sum of squares of a column of powers. Voltages hardly answer to it,
            sensitivities do: docs/fitted-network.md has what the default was chosen on.
        loss: ``squares``, or ``huber``, which counts residuals beyond 1.345 deviations with their size only.
        signs: whether coefficients must not be negative. On phases a load may raise another phase's voltage.
        transformer: where W comes from: ``measured``; ``highest``, the mean of the three meters whose voltages are
            highest on average; or ``none``. Measured where it is metered, and highest elsewhere, if None.
        v_transformer_pu: the lowest and highest voltage of the transformer in a run, where somebody holds it: W is then
            not fitted. Only with ``measured``.
        held_out: share of the intervals, the last ones, that are not fitted to.
        extrapolation: how many times the largest sum of all meters' power that was read, in each direction, the sum may
            come to; a direction that was never read is closed but for a watt. None is no such limit.

    Raises:
        InputError: every wrong argument at once; too few intervals for the number of coefficients; meters whose power
            never changes.
    """
    checked_kind(data, MeterData, "data")
    source = transformer or ("measured" if data.v_transformer_pu is not None else "highest")
    problems = list(_wrong(data, v_min_pu, v_max_pu, rating_kva, eps, ridge, loss, signs, source, held_out))
    problems += _wrong_voltages(v_transformer_pu, source)
    if extrapolation is not None and not (is_number(extrapolation) and 0 < extrapolation <= MOST):
        problems.append(f"extrapolation = {shortened(extrapolation)} must be above 0 and at most {MOST:g}, or None")
    if problems:
        raise InputError(problems, subject="fit_network")
    readings = _Readings.of(data, source, held_out)
    if problems := readings.too_little():
        raise InputError(problems, subject="fit_network")
    way = Way(float(ridge), loss, signs)
    known = _rows_with_transformer(readings, way)
    stated = None if v_transformer_pu is None else (float(v_transformer_pu[0]), float(v_transformer_pu[1]))
    rows = _rows_of_runs(readings, known, eps, stated)
    missing = [w for w, a in (("kvar", data.q_kvar), ("transformer voltage", data.v_transformer_pu)) if a is None]
    fit = Fit(
        data=data,
        transformer=source,
        missing=tuple(missing),
        train=int(readings.train.sum()),
        held_out=int((~readings.train).sum()),
        ridge=float(ridge),
        loss=loss,
        signs=signs,
        eps=float(eps),
        v_transformer_pu=stated,
        errors=_errors(readings, known, rows, stated),
        seen_kw=np.maximum(np.stack([-readings.p, readings.p])[:, readings.train].max(axis=1), 0.0),
        seen_together_kw=np.maximum(
            np.stack([-readings.p, readings.p])[:, readings.train].sum(axis=2).max(axis=1), 0.0
        ),
        extrapolation=None if extrapolation is None else float(extrapolation),
    )
    at_source = float(np.sqrt(readings.at_transformer.mean()))
    most = None if extrapolation is None else np.maximum(extrapolation * fit.seen_together_kw, CLOSED_KW)
    return FittedNetwork(meter_feeder(data, at_source, v_min_pu, v_max_pu, rating_kva, most), rows, fit)


def _wrong(
    data: MeterData,
    v_min_pu: Any,
    v_max_pu: Any,
    rating_kva: Any,
    eps: Any,
    ridge: Any,
    loss: Any,
    signs: Any,
    source: Any,
    held_out: Any,
) -> list[str]:
    """What is wrong with the arguments of a fit."""
    band = is_number(v_min_pu) and is_number(v_max_pu) and 0 < v_min_pu < v_max_pu < 2
    ends = f"v_min_pu = {shortened(v_min_pu)}, v_max_pu = {shortened(v_max_pu)}"
    few = f"transformer = 'highest' takes more than {HIGHEST} meters, and there are {data.n_meters}"
    unread = "transformer = 'measured', and its voltage is not among the readings"
    share = is_number(held_out) and 0.05 <= held_out <= 0.9
    found = {
        f"{ends} must be a band in pu, such as 0.9, 1.1": band,
        f"rating_kva = {shortened(rating_kva)} must be positive, or None": rating_kva is None
        or (is_number(rating_kva) and rating_kva > 0),
        f"eps = {shortened(eps)} must be above 0 and below 0.5": is_number(eps) and 0 < eps < 0.5,
        f"ridge = {shortened(ridge)} must be a number, not negative": is_number(ridge) and ridge >= 0,
        f"loss = {shortened(loss)}; valid choices: {', '.join(LOSSES)}": loss in LOSSES,
        f"signs = {shortened(signs)} must be True or False": isinstance(signs, bool),
        f"transformer = {shortened(source)}; valid choices: {', '.join(SOURCES)}": source in SOURCES,
        f"held_out = {shortened(held_out)} must be a share within 0.05 to 0.9": share,
        unread: source != "measured" or data.v_transformer_pu is not None,
        few: source != "highest" or data.n_meters > HIGHEST,
    }
    return [sentence for sentence, right in found.items() if not right]


def _wrong_voltages(stated: Any, source: str) -> list[str]:
    if stated is None:
        return []
    if source != "measured":
        return [f"v_transformer_pu goes with transformer = 'measured', not {source!r}"]
    pair = isinstance(stated, tuple | list) and len(stated) == 2 and all(is_number(v) for v in stated)
    if not (pair and 0.5 <= stated[0] <= stated[1] <= 1.5):
        return [f"v_transformer_pu = {shortened(stated)} must be the lowest and the highest voltage in pu"]
    return []


@dataclass(frozen=True, eq=False)
class _Readings:
    """Injections and squared voltages.

    ``at_transformer`` is the mean of all where nothing stands for the transformer's voltage.
    """

    names: tuple[str, ...]
    nominal_v: float
    p: FloatArray
    q: FloatArray | None
    w: FloatArray
    at_transformer: FloatArray
    source: str
    train: BoolArray

    @classmethod
    def of(cls, data: MeterData, source: str, held_out: float) -> _Readings:
        w = data.v_pu**2
        train = np.arange(data.n_steps) < data.n_steps - max(1, round(held_out * data.n_steps))
        at = w.mean(axis=1)
        if source == "measured" and data.v_transformer_pu is not None:
            at = data.v_transformer_pu**2
        elif source == "highest":
            mean = data.v_pu[train].mean(axis=0) if train.any() else data.v_pu.mean(axis=0)
            at = w[:, np.argsort(-mean, kind="stable")[:HIGHEST]].mean(axis=1)
        q = None if data.q_kvar is None else -data.q_kvar
        return cls(data.meters, data.nominal_v, -data.p_kw, q, w, at, source, train)

    @property
    def powers(self) -> FloatArray:
        """(T, n or 2 n) active, then reactive injections."""
        return self.p if self.q is None else np.concatenate([self.p, self.q], axis=1)

    @property
    def through(self) -> FloatArray:
        """(T, 1 or 2) what is injected behind the transformer altogether."""
        return np.stack([a.sum(axis=1) for a in (self.p, self.q) if a is not None], axis=1)

    def too_little(self) -> list[str]:
        """Why nothing can be fitted."""
        coefficients = self.powers.shape[1] + 1 + (self.source != "none")
        problems, rows = [], int(self.train.sum())
        if rows < coefficients:
            problems.append(
                f"{counted(len(self.names), 'meter')}{' with kvar' if self.q is not None else ''} need"
                f" {counted(coefficients, 'coefficient')} each, and there"
                f" {'is' if rows == 1 else 'are'} {counted(rows, 'interval')} to fit to ({len(self.train)}"
                " less those held"
                " out): too few"
            )
        still = np.ptp(self.p[self.train], axis=0) <= STILL_KW if rows else np.zeros(0, dtype=bool)
        if still.any():
            names = [self.names[i] for i in np.flatnonzero(still)]
            problems.append(
                f"the power of meters {shorten(map(repr, names))} never changes: nothing says what it does to voltages;"
                " leave them out or wait"
            )
        return problems


@dataclass(frozen=True, eq=False)
class _Known:
    """Rows with the transformer's squared voltage as an input; ``a_t`` is 0 where there is none."""

    constant: FloatArray
    a: FloatArray
    a_t: FloatArray

    def w(self, readings: _Readings) -> FloatArray:
        return self.constant + readings.powers @ self.a.T + readings.at_transformer[:, None] * self.a_t


def _rows_with_transformer(readings: _Readings, way: Way) -> _Known:
    x, train = readings.powers, readings.train
    k = x.shape[1]
    if readings.source != "none":
        x = np.column_stack([x, readings.at_transformer])
    found = [regressed(x[train], w, k, way) for w in readings.w[train].T]
    a = np.stack([coefficients for coefficients, _ in found])
    a_t = a[:, k] if a.shape[1] > k else np.zeros(len(a))
    return _Known(np.array([constant for _, constant in found]), a[:, :k], a_t)


def _rows_of_runs(readings: _Readings, known: _Known, eps: float, stated: tuple[float, float] | None) -> Rows:
    """Rows in powers alone, and their residuals' quantiles; stated voltages of the transformer widen these."""
    n, train = len(readings.names), readings.train
    constant, a = known.constant, known.a
    residual = (readings.w - known.w(readings))[train]
    reach = 0.0
    if stated is not None:
        low, high = np.square(stated)
        constant, reach = constant + known.a_t * (low + high) / 2.0, (high - low) / 2.0
    elif readings.source != "none":
        moves, at = _transformer_row(readings)
        constant, a = constant + known.a_t * at, a + known.a_t[:, None] * moves
        residual = (readings.w - constant - readings.powers @ a.T)[train]
    above = np.maximum(np.quantile(residual, 1.0 - eps, axis=0), 0.0) + known.a_t * reach
    below = np.maximum(np.quantile(-residual, 1.0 - eps, axis=0), 0.0) + known.a_t * reach
    a_q = a[:, n:] if readings.q is not None else np.zeros_like(a)
    return Rows(constant, a[:, :n], a_q, below, above)


def _transformer_row(readings: _Readings) -> tuple[FloatArray, float]:
    """What a kW (and kvar) of anybody does to the transformer's squared voltage, and what that is without any.

    From changes between one interval and the next: the upper network's voltage wanders slowly, and with the hour, so
    that levels would mistake it for what customers do. Meters that stand for the transformer hang behind lines of
    their own; that they as well move with the sums keeps the upper network apart from each customer.
    """
    train, n = readings.train, len(readings.names)
    through, w = readings.through[train], readings.at_transformer[train]
    changes = np.diff(through, axis=0), np.diff(w)
    slopes, _ = regressed(*changes, 0, Way(0.0, "squares", True))
    return np.repeat(slopes, n), float(np.mean(w - through @ slopes))


def _errors(readings: _Readings, known: _Known, rows: Rows, stated: tuple[float, float] | None) -> pd.DataFrame:
    q = np.zeros_like(readings.p) if readings.q is None else readings.q
    of = {"known": known.w(readings), "run": rows.w(readings.p, q)}
    beyond = (readings.w > of["run"] + rows.above) | (readings.w < of["run"] - rows.below)
    if readings.source == "none":
        del of["known"]
    table = {}
    for span, which in (("training", readings.train), ("held out", ~readings.train)):
        for what, w in of.items():
            volts = readings.nominal_v * np.abs(np.sqrt(np.maximum(w, 0.0)) - np.sqrt(readings.w))[which]
            table[span, what] = {
                "mean_v": volts.mean(),
                "p99_v": np.quantile(volts, 0.99),
                "worst_v": volts.max(),
                "beyond_pct": 100.0 * beyond[which].mean() if what == "run" else np.nan,
            }
    return pd.DataFrame(table).T.rename_axis(["span", "transformer"])
