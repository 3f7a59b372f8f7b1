"""Scale factors on a case."""

from __future__ import annotations

from dataclasses import dataclass

from amm_opt.errors import InputError
from amm_opt.fields import Checked, is_number

MAX_SCALE = 1e6
SCALES = {
    "load_scale": "non-negative",
    "import_scale": "non-negative",
    "export_scale": "non-negative",
    "capacity_scale": "positive",
}


@dataclass(frozen=True)
class Scenario(Checked):
    """Scale factors on a case; 1 everywhere is the case as stored.

    Attributes:
        load_scale: on inflexible net load.
        import_scale, export_scale: on flexible import and export requests.
        capacity_scale: on every branch rating.
    """

    load_scale: float = 1.0
    import_scale: float = 1.0
    export_scale: float = 1.0
    capacity_scale: float = 1.0
    description: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)!r} must be a {sign} number of at most {MAX_SCALE:g}"
            for name, sign in SCALES.items()
            if not _scale_ok(getattr(self, name), positive=sign == "positive")
        ]
        if problems:
            raise InputError(problems, subject="scenario")
        for name in SCALES:
            object.__setattr__(self, name, float(getattr(self, name)))


def _scale_ok(value: object, *, positive: bool) -> bool:
    return is_number(value) and bool((value > 0 if positive else value >= 0) and value <= MAX_SCALE)  # type: ignore[operator]
