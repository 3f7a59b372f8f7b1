"""RegControl and CapControl: what they control stays as the file leaves it."""

from __future__ import annotations

from dataclasses import dataclass

from amm_opt.importers.opendss.dialect.text import whole
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


@dataclass
class RegControl(Automatic):
    """A regulator control: taps stand as the file leaves them, by the transformer or by ``tapnum`` here."""

    winding: int = 1
    tap_winding: int | None = None

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "transformer":
            self._take(f"transformer.{value}")
        elif name == "winding":
            self.winding = self.tap_winding = whole(value)
        elif name == "tapwinding":
            self.tap_winding = whole(value)
        elif name == "tapnum":
            self._tap_number(whole(value))
        else:
            return False
        return True

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
