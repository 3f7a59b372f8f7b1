"""Margins: how far a limit shifts for load that turns out otherwise than it was told.

A limit a'x + a'w <= b, with x what a mechanism gives and w errors of inflexible load. x does not answer to w, so that
every kind of margin is a shift of the limit, and programs stay as they are: a'x <= b - shift, with the mean of a'w
where errors that were seen have one,

    gaussian     z(1 - eps) sqrt(a'S a)               z the quantile of the normal distribution
    cantelli     sqrt((1 - eps) / eps) sqrt(a'S a)    any distribution with covariance S
    symmetric    sqrt(1 / (2 eps)) sqrt(a'S a)        any symmetric one, eps < 1/2
    unimodal     sqrt(4 / (9 eps) - 1) sqrt(a'S a)    any symmetric unimodal one, eps <= 1/6
    scenario     max_k a'w_k over K draws             K from how many are needed, below
    box          sum_j |a_j| q_j                      any w with |w_j| <= q_j

Each limit then holds in each interval with probability at least 1 - eps (``joint``: all of them at once, eps / m each).

L. Roald, F. Oldewurtel, B. Van Parys, G. Andersson, arXiv 1508.06061 (factors without normality); M. C. Campi, S.
Garatti, SIAM J. Optimization 19(3), 2008, doi 10.1137/07069821X (scenarios); Y. Yi, G. Verbic, Electric Power Systems
Research 213, 2022, doi 10.1016/j.epsr.2022.108465 (chance constraints for fair operating envelopes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np
from scipy.stats import binom, norm

from amm_opt.arrays import FloatArray
from amm_opt.cases.folder.magnitudes import LARGEST as LARGEST_KW
from amm_opt.cases.scenario import MAX_SCALE
from amm_opt.errors import InputError, Problems, unknown
from amm_opt.fields import Checked, shortened
from amm_opt.specs import read_options

Kind = Literal["gaussian", "cantelli", "symmetric", "unimodal", "scenario", "box"]
KINDS: tuple[str, ...] = get_args(Kind)
AUTO = "auto"
LARGEST_EPS = {"symmetric": 0.5, "unimodal": 1.0 / 6.0}
LEAST_EPS = 1e-12
LEAST_PF = 0.1
MOST_DRAWS = 1_000_000
NEGATIVE = 1e-9
"""An eigenvalue of a covariance below minus this share of the largest is no rounding."""
SPEC = {
    "eps": float,
    "sigma": float,
    "errors": str,
    "pf": float,
    "joint": bool,
    "draws": int,
    "confidence": float,
    "seed": int,
    "scale": float,
}


@dataclass(frozen=True, eq=False)
class Margin(Checked):
    """A margin of every limit for errors of inflexible load.

    Args:
        kind: ``gaussian``, ``cantelli``, ``symmetric``, ``unimodal``, ``scenario`` or ``box``.
        eps: probability with which a limit may be broken, in (0, 1).
        sigma: standard deviation of each participant's error as a share of its inflexible load in the interval, all
            independent; of ``box`` the largest error.
        errors: ``load`` as by ``sigma``; ``persistence``: what the case's own load differs from the day before.
        pf: power factor of errors, in 0.1..1, or -1..-0.1 where kvar and kW have opposite signs; where None that of
            the load itself in the interval.
        joint: whether eps is for all limits of an interval at once.
        draws: of ``scenario``; as many as are needed where None.
        confidence: of ``scenario``, with which eps holds.
        seed: of draws.
        scale: times which the shift is taken.
        covariance: (n, n) of errors in kW, in place of ``sigma``.
        samples: (K, n) errors in kW that were seen, real load less what was told, in place of ``sigma``; their mean
            counts as well as their spread.

    Raises:
        InputError: an unknown kind; eps that the kind does not permit; numbers out of range; a covariance that is not
            symmetric or not positive semidefinite; samples that are too few or not finite.
    """

    kind: Kind = "gaussian"
    eps: float = 0.05
    sigma: float = 0.2
    errors: Literal["load", "persistence"] = "load"
    pf: float | None = None
    joint: bool = False
    draws: int | None = None
    confidence: float = 0.999999
    seed: int = 0
    scale: float = 1.0
    covariance: Any = field(default=None, repr=False)
    samples: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if said := [*self._numbers(), *self._arrays()]:
            raise InputError(said, subject=f"margin {self.kind}")

    def _numbers(self) -> list[str]:
        said, largest = [], LARGEST_EPS.get(self.kind, 1.0)
        if not 0 < self.eps < 1:
            said.append(f"eps = {self.eps:g} must be between 0 and 1")
        elif not (self.eps < largest or (self.kind == "unimodal" and self.eps <= largest)):
            said.append(f"eps = {self.eps:g} must be at most {largest:.3g} of this kind")
        if not 0 < self.confidence < 1:
            said.append(f"confidence = {self.confidence:g} must be between 0 and 1")
        if self.eps < LEAST_EPS:
            said.append(f"eps = {self.eps:g} must be at least {LEAST_EPS:g}")
        said += [
            f"{n} = {v:g} must be at most {MAX_SCALE:g}"
            for n in ("sigma", "scale")
            if (v := getattr(self, n)) > MAX_SCALE
        ]
        said += [
            f"{n} = {v:g} must not be negative" for n in ("sigma", "scale", "seed") if not (v := getattr(self, n)) >= 0
        ]
        if self.pf is not None and not LEAST_PF <= abs(self.pf) <= 1:
            said.append(f"pf = {self.pf:g} must be in 0.1..1 or -1..-0.1")
        if self.draws is not None and not 1 <= self.draws <= MOST_DRAWS:
            said.append(f"draws = {self.draws} must be at least 1 and at most {MOST_DRAWS:,}")
        return said

    def _arrays(self) -> list[str]:
        said = []
        if self.covariance is not None and self.samples is not None:
            said.append("give covariance or samples, not both")
        for name in ("covariance", "samples"):
            given = getattr(self, name)
            if given is None:
                continue
            try:
                array = np.array(given, dtype=float)
            except (TypeError, ValueError):
                array = np.array(np.nan)
            largest = LARGEST_KW**2 if name == "covariance" else LARGEST_KW
            if array.ndim != 2 or not np.all(np.abs(array) <= largest):
                said.append(f"{name} = {shortened(given)} must be a table of finite numbers of at most {largest:g}")
                continue
            array.setflags(write=False)
            object.__setattr__(self, name, array)
            said += _not_a_covariance(array) if name == "covariance" else self._too_few(array)
        if self.kind == "box" and self.covariance is not None:
            said.append("a covariance has no largest error: give sigma or samples")
        return said

    def _too_few(self, samples: FloatArray) -> list[str]:
        """A spread takes two errors that were seen, the largest one of them one."""
        fewest = 1 if self.kind in ("box", "scenario") else 2
        return [f"samples of shape {samples.shape} must be at least {fewest}"] if len(samples) < fewest else []

    def factor(self, limits: int) -> float:
        """Times which the standard deviation is taken, of so many limits at once where the margin is joint."""
        eps = self.eps / max(1, limits) if self.joint else self.eps
        kinds = {
            "gaussian": lambda: norm.isf(eps),
            "cantelli": lambda: np.sqrt((1.0 - eps) / eps),
            "symmetric": lambda: np.sqrt(1.0 / (2.0 * eps)),
            "unimodal": lambda: np.sqrt(4.0 / (9.0 * eps) - 1.0),
        }
        return float(kinds[self.kind]()) if self.kind in kinds else 1.0

    def __str__(self) -> str:
        default = type(self)()
        given = {name: getattr(self, name) for name in SPEC if getattr(self, name) != getattr(default, name)}
        given |= {
            name: sha256(array.tobytes()).hexdigest()[:12]
            for name in ("covariance", "samples")
            if (array := getattr(self, name)) is not None
        }
        spec = ",".join(f"{name}={value}" for name, value in given.items())
        return f"{self.kind}:{spec}" if spec else self.kind


def _not_a_covariance(array: FloatArray) -> list[str]:
    if array.shape[0] != array.shape[1] or not np.allclose(array, array.T, rtol=1e-9, atol=0.0):
        return [f"covariance of shape {array.shape} must be square and symmetric"]
    lowest, highest = np.linalg.eigvalsh(array)[[0, -1]] if len(array) else (0.0, 0.0)
    if lowest < -NEGATIVE * max(highest, 0.0) or highest < 0:
        return [f"covariance is not positive semidefinite: its lowest eigenvalue is {lowest:g}"]
    return []


def draws_needed(eps: float, beta: float, decisions: int = 1) -> int:
    """The fewest draws K with which a scenario program of so many decisions breaks at most eps, but for beta.

    sum_(i < decisions) C(K, i) eps^i (1 - eps)^(K - i) <= beta (Campi and Garatti 2008). The shift of one limit, which
    x does not answer to, is a program of one decision.
    """
    low, high = 0, decisions
    while binom.cdf(decisions - 1, high, eps) > beta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binom.cdf(decisions - 1, middle, eps) > beta else (low, middle)
    return high


def as_margin(item: Margin | str | None) -> Margin | None:
    """A margin from its spec, such as ``gaussian:eps=0.05,sigma=0.2``; None where there is none.

    Raises:
        InputError: an unknown kind or parameter, with the valid choices; a value out of range.
    """
    if item is None or isinstance(item, Margin):
        return item
    if not isinstance(item, str):
        raise InputError(f"margin = {shortened(item)} must be a Margin or a text such as gaussian:eps=0.05")
    kind, _, rest = item.partition(":")
    if kind == AUTO:
        raise InputError("margin auto is found by simulate, for a run of its own: give a margin such as gaussian")
    if kind not in KINDS:
        raise unknown("margin", kind, list(KINDS))
    said = Problems()
    options = read_options(rest, SPEC, f"margin {kind}", said)
    margin = said.of(lambda: Margin(kind, **options))  # type: ignore[arg-type]
    said.report()
    return margin
