"""RegControl and CapControl: what they control stays as the file leaves it."""

from __future__ import annotations

from dataclasses import dataclass, field

from amm_opt.importers.opendss.dialect.text import is_yes, number, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.elements.loads import Capacitor
from amm_opt.importers.opendss.elements.transformers import Transformer


@dataclass
class Automatic(Component):
    """A control that moves taps or switches capacitors while OpenDSS solves, which is not followed."""

    target: Component | None = None

    def _take(self, full: str) -> Component:
        assert self.find is not None
        self.target = self.find(full)
        return self.target

    def finish(self) -> None:
        """Check what the script leaves."""
        if self.target is None:
            raise UnsupportedError("what it controls must be given")


_PLAIN = {
    **{"vreg": "v_set", "band": "band", "ptratio": "pt_ratio", "ctprim": "ct_rating", "r": "r", "x": "x"},
    "delay": "delay",
}


@dataclass
class RegControl(Automatic):
    """A regulator control: taps stand as the file leaves them, by the transformer or by ``tapnum`` here."""

    winding: int = 1
    tap_winding: int | None = None
    v_set: float = 120.0
    band: float = 3.0
    pt_ratio: float = 60.0
    ct_rating: float = 300.0
    r: float = 0.0
    x: float = 0.0
    delay: float = 15.0
    max_change: int = 16
    pt_phase: int = 1
    reversible: bool = False
    beyond: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "transformer":
            self._take(f"transformer.{value}")
        elif name == "winding":
            self.winding = self.tap_winding = whole(value)
        elif name == "tapwinding":
            self.tap_winding = whole(value)
        elif name in _PLAIN:
            setattr(self, _PLAIN[name], number(value))
        elif name == "maxtapchange":
            self.max_change = whole(value)
        elif name == "ptphase" and value.isdigit():
            self.pt_phase = whole(value)
        elif name == "reversible":
            self.reversible = is_yes(value)
        elif name in ("ptphase", "bus", "vlimit", "inversetime"):
            self.beyond[name] = value
        elif name == "tapnum":
            self._tap_number(whole(value))
        else:
            return False
        return True

    def unfollowed(self) -> str:
        """Why it cannot be held at its set point; empty where it can."""
        if not isinstance(self.target, Transformer):
            return "its transformer is unknown"
        if self.winding not in (1, 2) or (self.tap_winding or self.winding) != self.winding:
            return "it moves the tap of another winding than that whose voltage it watches"
        if self.target.legs is not None or not 1 <= self.pt_phase <= self.target.phases:
            return f"ptphase={self.pt_phase} of its transformer"
        used = [f"{n}={v}" for n, v in self.beyond.items() if n in ("ptphase", "bus") or is_yes(v) or v[:1].isdigit()]
        return f"{', '.join(used)} is not followed" if used else ""

    def _tap_number(self, steps: int) -> None:
        """Steps away from the middle of the range, at once and within it."""
        if not isinstance(self.target, Transformer):
            raise UnsupportedError("tapnum stands before transformer: without effect in OpenDSS")
        place = self.tap_winding or self.winding
        if place not in (1, 2):
            raise UnsupportedError(f"winding {place} of 2")
        winding = self.target.windings[place - 1]
        low, high = winding.tap_range
        winding.tap = min(max((low + high) / 2 + steps * (high - low) / winding.tap_steps, low), high)


@dataclass
class CapControl(Automatic):
    """A capacitor control: the capacitor's steps are on or off as its own states say."""

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name != "capacitor":
            return False
        if not isinstance(self._take(f"capacitor.{value}"), Capacitor):
            raise UnsupportedError(f"unknown capacitor {value!r}")
        return True
