"""A margin that is found: the smallest multiple of a family that is enough on a training span."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from amm_opt.errors import InputError, Problems, counted, unknown
from amm_opt.fields import Checked
from amm_opt.margins.margin import AUTO, KINDS, SPEC, Margin, as_margin
from amm_opt.specs import read_options

CLOSE = 0.02
"""Multiples of a margin are found to within this."""
LARGEST_SCALE = 8.0
ROUNDING = 1e-9
"""A rate of 3 intervals in 10, written as 0.3, allows 3."""
DAYS = 7.0
TRAINING = "training of the margin"
"""Among the inputs of a run; only runs whose margin was found have it."""
OF_TRAINING = {"days": float, "share": float, "family": str, "rate": float}


@dataclass(frozen=True, eq=False)
class AutoMargin(Checked):
    """The smallest multiple of a margin with which a run's measurement breaks limits rarely enough before it begins.

    Args:
        margin: the family, and all that it says but its ``scale``.
        days: length of the training span, which ends where the run begins; 7 where neither this nor ``share`` is given.
        share: the same as a share of the run's own length.
        rate: of the training span's intervals, how many may have a limit that is broken and would not be without
            flexible use; at least 0 and below 1.

    Raises:
        InputError: numbers out of range, or two lengths.
    """

    margin: Margin = field(default_factory=Margin)
    days: float | None = None
    share: float | None = None
    rate: float = 0.0

    def __post_init__(self) -> None:
        lengths = {"days": self.days, "share": self.share}
        said = [f"{name} = {v:g} must be above 0" for name, v in lengths.items() if v is not None and v <= 0]
        if not 0 <= self.rate < 1:
            said.append(f"rate = {self.rate:g} must be at least 0 and below 1")
        if self.days is not None and self.share is not None:
            said.append("days and share both say how long the training span is: give one of them")
        if self.margin.scale != 1.0:
            said.append(f"scale = {self.margin.scale:g} is what is found: leave it out")
        if said:
            raise InputError(said, subject=f"margin {AUTO}")

    def span(self, first: int, stop: int, dt_h: float, name: str) -> tuple[int, int]:
        """The training span of a run of intervals ``first .. stop - 1``: its first interval and one past its last.

        Raises:
            InputError: where the case, called ``name``, has not as many intervals before the run.
        """
        days = DAYS if self.days is None else self.days
        length = days * 24.0 / dt_h if self.share is None else self.share * (stop - first)
        if not 0.5 < length < first + 0.5:
            raise InputError(
                f"margin {self} trains on {length:.6g} intervals before the run, of which case {name} has {first}:"
                " begin the run later, or train on at least one and at most these (days=, share=)"
            )
        return first - round(length), first

    def __str__(self) -> str:
        own = {name: value for name in ("days", "share", "rate") if (value := getattr(self, name)) not in (None, 0.0)}
        family, _, rest = str(self.margin).partition(":")
        parts = [f"{name}={value}" for name, value in own.items()]
        if family != Margin().kind:
            parts.append(f"family={family}")
        return f"{AUTO}:{','.join([*parts, *filter(None, [rest])])}".rstrip(":")


@dataclass(frozen=True)
class Trained:
    """Which margin was chosen before a run, and what it left on the training span.

    Attributes:
        asked: the text of the :class:`AutoMargin`.
        first, intervals: number of the training span's first interval, and its length.
        margin: the text of the margin that was found; empty where none is needed.
        scale: the multiple of its family; 0 where no margin is needed.
        tried: (multiple, intervals with a limit that is broken), in the order in which they were tried.
        on_ac: whether limits were judged by AC power flow, else by the network model.
    """

    asked: str
    first: int
    intervals: int
    margin: str
    scale: float
    tried: tuple[tuple[float, int], ...]
    on_ac: bool

    @classmethod
    def stored(cls, about: dict[str, Any]) -> Trained:
        """From what ``dataclasses.asdict`` gave, after JSON."""
        tried = tuple((float(scale), int(count)) for scale, count in about["tried"])
        return cls(**{f.name: about[f.name] for f in fields(cls) if f.name != "tried"}, tried=tried)

    @property
    def document(self) -> dict[str, Any]:
        """What is stored of it; the inverse of :meth:`stored`."""
        return {**asdict(self), "tried": [list(one) for one in self.tried]}

    @property
    def broken(self) -> int:
        """Intervals of the training span with a limit that is broken in spite of the margin."""
        return dict(self.tried)[self.scale]

    @property
    def rate_pct(self) -> float:
        """The same, per cent of all."""
        return 100.0 * self.broken / self.intervals

    def sentence(self, broken: int, intervals: int) -> str:
        """What the margin left on the training span and on the run, ``broken`` of so many intervals."""
        return (
            f"{self.asked} found {self.margin or 'that no margin is needed'}: a limit is broken in {self.broken} of"
            f" {counted(self.intervals, 'training interval')}, and in {broken} of {intervals} of this run"
        )


def trained(auto: AutoMargin, span: tuple[int, int], on_ac: bool, broken: Callable[[Margin | None], int]) -> Trained:
    """The smallest multiple of a family that is enough on a training span.

    Args:
        span: its first interval and one past its last.
        on_ac: whether limits are judged by AC power flow.
        broken: runs the span with a margin, and counts intervals with a limit that is broken.

    Raises:
        InputError: where not even the largest multiple is enough, with what each of them left.
    """
    first, stop = span
    tried: list[tuple[float, int]] = []

    def enough(scale: float) -> bool:
        count = broken(replace(auto.margin, scale=scale) if scale else None)
        tried.append((scale, count))
        return count <= auto.rate * (stop - first) * (1.0 + ROUNDING)

    scale = smallest_scale(enough)
    if scale is None:
        left = ", ".join(f"{count} at {scale:g} times" for scale, count in tried)
        raise InputError(
            f"margin {auto}: no multiple of {auto.margin} up to {LARGEST_SCALE:g} leaves at most {100 * auto.rate:g} %"
            f" of the {stop - first} training intervals with a broken limit ({left}): these errors are not of the kind"
            " that the family is for; give another family, a higher rate, or no margin"
        )
    margin = str(replace(auto.margin, scale=scale)) if scale else ""
    return Trained(str(auto), first, stop - first, margin, scale, tuple(tried), on_ac)


def smallest_scale(enough: Callable[[float], bool]) -> float | None:
    """The smallest multiple that is enough, to within ``CLOSE``, by doubling and bisection; None where none is.

    Every multiple above one that is enough is taken to be enough as well. The one that is returned was tried.
    """
    low, high = 0.0, 1.0
    if enough(low):
        return low
    while not enough(high):
        low, high = high, 2.0 * high
        if high > LARGEST_SCALE:
            return None
    while high - low > CLOSE:
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def asked_margin(item: Margin | AutoMargin | str | None) -> Margin | AutoMargin | None:
    """A margin, or one that is to be found, from its spec, such as ``auto:days=7,rate=0.01,family=cantelli``.

    Raises:
        InputError: as :func:`as_margin`; what is wrong with the training.
    """
    if isinstance(item, AutoMargin):
        return item
    kind, _, rest = item.partition(":") if isinstance(item, str) else ("", "", "")
    if kind != AUTO:
        return as_margin(item)
    said = Problems()
    kinds = {**OF_TRAINING, **{name: kind for name, kind in SPEC.items() if name != "scale"}}
    options = read_options(rest, kinds, f"margin {AUTO}", said)
    family = options.pop("family", Margin().kind)
    if family not in KINDS:
        said.say(str(unknown(f"family of margin {AUTO}", family, list(KINDS))))
    of_training = {name: options.pop(name) for name in OF_TRAINING if name in options}
    margin = said.of(lambda: Margin(family, **options)) if family in KINDS else Margin()
    auto = said.of(lambda: AutoMargin(margin or Margin(), **of_training))
    said.report()
    return auto
