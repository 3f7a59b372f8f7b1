"""Transformers of two windings: what their properties mean, in the order in which they are given."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from amm_opt.importers.opendss.dialect.text import array, is_yes, number, whole
from amm_opt.importers.opendss.elements.component import (
    PHASE_NAMES,
    Component,
    UnsupportedError,
    bus_and_nodes,
    is_delta,
)

_LISTS = {"buses": "bus", "conns": "conn", "kvs": "kv", "kvas": "kva", "taps": "tap", "%rs": "%r"}
_REFUSED = {
    "wires": "give its properties here",
}


@dataclass
class Winding:
    """One winding."""

    bus: str = ""
    conn: str = "wye"
    kv: float = 12.47
    kva: float = 1000.0
    tap: float = 1.0
    r: float = 0.2
    tap_range: tuple[float, float] = (0.9, 1.1)
    tap_steps: int = 32
    neutral_ohm: complex | None = None


@dataclass
class Transformer(Component):
    """A transformer of two windings; resistance and reactance in percent of the first winding's rating.

    After ``finish``, of a wye and a delta winding the delta comes first.

    Attributes:
        lead: whether the high voltage leads; after ``finish`` whether the delta winding's does not (Dyn11).
        kva: base of the percentages.
        idle_end: the winding at whose bus no-load losses and magnetising current are.
    """

    windings: list[Winding] = field(default_factory=lambda: [Winding(), Winding()])
    phases: int = 3
    xhl: float = 7.0
    lead: bool = False
    no_load_loss: float = 0.0
    magnetising: float = 0.0
    normal_kva: float | None = None
    count: int = 2
    active: int = 0
    kva: float = 1000.0
    idle_end: int = 1
    buses: tuple[str, str] = ("", "")
    nodes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    conns: tuple[str, str] = ("wye", "wye")

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "phases":
            self.phases = whole(value)
        elif name == "windings":
            self._windings(whole(value))
        elif name == "wdg":
            self.active = whole(value) - 1
            if self.active not in (0, 1) and self.count == 2:
                raise UnsupportedError(f"winding {value} of 2")
        elif name in ("xhl", "x12"):
            self.xhl = number(value)
        elif name == "xscarray":
            self.xhl = number(array(value)[0] if array(value) else "")
        elif name == "leadlag":
            self.lead = value.lower() in ("lead", "euro")
        elif name == "%loadloss":
            for winding in self.windings:
                winding.r = number(value) / 2
        elif name == "%noloadloss":
            self.no_load_loss = number(value)
        elif name == "%imag":
            self.magnetising = number(value)
        elif name == "normhkva":
            self.normal_kva = number(value)
        elif name in _REFUSED:
            raise UnsupportedError(f"{name} is not supported: {_REFUSED[name]}")
        elif name == "xrconst":
            if is_yes(value):
                raise UnsupportedError("xrconst is not supported")
        else:
            return self._of_winding(name, value)
        return True

    def refer(self, name: str, found: Sequence[Component]) -> None:
        """Take everything of a transformer code as it is now, but for buses and leadlag, which it has not."""
        (code,) = (x for x in found if isinstance(x, XfmrCode))
        if code.wrong:
            raise UnsupportedError(f"{code.element}: {code.wrong}")
        model = code.model
        self.windings = [replace(w, bus=own.bus) for w, own in zip(model.windings, self.windings, strict=True)]
        self.phases, self.xhl, self.normal_kva = model.phases, model.xhl, model.normal_kva
        self.no_load_loss, self.magnetising = model.no_load_loss, model.magnetising

    def _windings(self, n: int) -> None:
        self.count = n
        if n != 2:
            raise UnsupportedError(f"{n} windings are not supported, only two")
        if any(w != Winding() for w in self.windings):
            raise UnsupportedError("windings must be given before what it resets: buses, conns, kvs, kvas, taps, %rs")

    def _of_winding(self, name: str, value: str) -> bool:
        """A property of the active winding, or of both as a list, which leaves the last one active."""
        if self.count != 2:
            return True
        if name in _LISTS:
            given = re.split(r"[\s,]+", value.strip("()[]{}\"' ").strip()) if name == "conns" else array(value)
            if len(given) != 2:
                raise UnsupportedError(f"{name} = [{value}] needs a value for each of the 2 windings")
            for self.active, text in enumerate(given):
                self._set_winding(_LISTS[name], text)
        elif name == "kva":
            for winding in self.windings:
                winding.kva = number(value)
        elif name in _LISTS.values():
            self._set_winding(name, value)
        elif name in ("maxtap", "mintap", "numtaps"):
            self._tap_range(self.windings[self.active], name, value)
        elif name in ("rneut", "xneut"):
            winding, ohm = self.windings[self.active], number(value)
            known = winding.neutral_ohm or 0.0
            winding.neutral_ohm = complex(ohm, known.imag) if name == "rneut" else complex(known.real, ohm)
        else:
            return False
        return True

    def _tap_range(self, winding: Winding, name: str, value: str) -> None:
        """What the tap numbers of a regulator control refer to."""
        if name == "numtaps":
            winding.tap_steps = whole(value)
            if winding.tap_steps < 1:
                raise UnsupportedError(f"numtaps = {value} must be positive")
        else:
            low, high = winding.tap_range
            winding.tap_range = (number(value), high) if name == "mintap" else (low, number(value))

    def _set_winding(self, name: str, value: str) -> None:
        winding = self.windings[self.active]
        if name in ("bus", "conn"):
            setattr(winding, name, value)
        else:
            setattr(winding, "r" if name == "%r" else name, number(value))

    def finish(self) -> None:
        """Ends, and checks of what was given."""
        if not all(w.bus for w in self.windings):
            raise UnsupportedError("both windings need a bus")
        for w in self.windings:
            for what, given in (("kv", w.kv), ("kva", w.kva), ("tap", w.tap)):
                if not given > 0:
                    raise UnsupportedError(f"{what} = {given:g} must be positive")
        if not (self.xhl >= 0 and self.r_percent >= 0 and self.xhl + self.r_percent > 0):
            raise UnsupportedError(f"xhl = {self.xhl:g} %, %r = {self.r_percent:g} % must not be negative, nor both 0")
        self.kva = self.windings[0].kva
        conns = ["delta" if is_delta(w.conn) else "wye" for w in self.windings]
        if conns[0] != conns[1]:
            high = 0 if self.windings[0].kv >= self.windings[1].kv else 1
            self.lead = self.lead == (conns[high] == "delta")
        if conns == ["wye", "delta"]:
            conns.reverse()
            self.windings.reverse()
            self.idle_end = 0
        self.conns = (conns[0], conns[1])
        read = [
            bus_and_nodes(w.bus, self.phases, wye=c == "wye" or self.phases == 1)
            for w, c in zip(self.windings, self.conns, strict=True)
        ]
        self.buses, self.nodes = (read[0][0], read[1][0]), (read[0][1], read[1][1])

    @property
    def kv(self) -> tuple[float, float]:
        """Rated voltages: between lines, or of the winding with one phase."""
        return self.windings[0].kv, self.windings[1].kv

    @property
    def between_phases(self) -> bool:
        """Whether it has one phase and windings between two phases, the same at both ends."""
        return self.phases == 1 and set(self.nodes[0]) == set(self.nodes[1]) <= set(PHASE_NAMES)

    @property
    def line_kv(self) -> tuple[float, float]:
        """Rated voltages between lines."""
        factor = math.sqrt(3) if self.phases == 1 and not self.between_phases else 1.0
        return factor * self.windings[0].kv, factor * self.windings[1].kv

    @property
    def without_ground(self) -> bool:
        """Whether no current can pass through it to ground."""
        return self.between_phases or self.conns == ("delta", "delta")

    @property
    def taps(self) -> tuple[float, float]:
        """Taps of both windings."""
        return self.windings[0].tap, self.windings[1].tap

    @property
    def rating_kva(self) -> float:
        """``normhkva`` where it is given, else the smaller winding's."""
        return self.normal_kva or min(w.kva for w in self.windings)

    @property
    def r_percent(self) -> float:
        """Resistance of both windings."""
        return self.windings[0].r + self.windings[1].r


@dataclass
class XfmrCode(Component):
    """A transformer code: properties of a transformer without buses; what is wrong counts where it is used."""

    wrong: str = ""

    def __post_init__(self) -> None:
        self.model = Transformer(self.element, self.base_frequency)

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        try:
            return self.model.set(name, value)
        except UnsupportedError as error:
            self.wrong = self.wrong or str(error)
        except ValueError as error:
            self.wrong = self.wrong or f"cannot read a number: {error}"
        return True
