"""Scale factors on a case, and limits of its branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amm_opt.errors import InputError
from amm_opt.fields import Checked, is_number
from amm_opt.network import Feeder
from amm_opt.network.feeder.limits import checked_limits

MAX_SCALE = 1e6
TIER_SCALES = ("mv_capacity_scale", "lv_capacity_scale")
SCALES = {
    "load_scale": "non-negative",
    "import_scale": "non-negative",
    "export_scale": "non-negative",
    "capacity_scale": "positive",
    **dict.fromkeys(TIER_SCALES, "positive"),
}


@dataclass(frozen=True)
class Scenario(Checked):
    """Scale factors on a case and limits of its branches; 1 everywhere and no limits is the case as stored.

    Attributes:
        load_scale: on inflexible net load.
        import_scale, export_scale: on flexible import and export requests.
        capacity_scale: on every limit of a branch, its rating and those of its active power.
        mv_capacity_scale, lv_capacity_scale: further factors, on branches that feed a bus of this tier.
        limits: by the name of a branch, what stands in place of its ``rating_kva``, ``import_limit_kw`` and
            ``export_limit_kw``; a number is a rating.
    """

    load_scale: float = 1.0
    import_scale: float = 1.0
    export_scale: float = 1.0
    capacity_scale: float = 1.0
    mv_capacity_scale: float = 1.0
    lv_capacity_scale: float = 1.0
    limits: Mapping[str, Any] = field(default_factory=dict, hash=False)
    description: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)!r} must be a {sign} number of at most {MAX_SCALE:g}"
            for name, sign in SCALES.items()
            if not _scale_ok(getattr(self, name), positive=sign == "positive")
        ]
        try:
            object.__setattr__(self, "limits", checked_limits(self.limits))
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems, subject="scenario")
        for name in SCALES:
            object.__setattr__(self, name, float(getattr(self, name)))

    def connection_scale(self, direction: str) -> float:
        """Factor on connection limits of a direction: they grow with load and requests that are scaled up."""
        return max(1.0, self.load_scale, self.import_scale if direction == "import" else self.export_scale)

    @property
    def changes(self) -> dict[str, Any]:
        """What :meth:`Feeder.with_limits` takes."""
        return {name: getattr(self, name) for name in ("limits", "capacity_scale", *TIER_SCALES)}

    def applied(self, feeder: Feeder) -> Feeder:
        """The feeder with the limits of this scenario.

        Raises:
            InputError: where a branch is unknown.
        """
        return feeder.with_limits(**self.changes)


def _scale_ok(value: object, *, positive: bool) -> bool:
    return is_number(value) and bool((value > 0 if positive else value >= 0) and value <= MAX_SCALE)  # type: ignore[operator]
