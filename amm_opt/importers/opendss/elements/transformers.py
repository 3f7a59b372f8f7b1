"""Transformers of two windings, and centre-tapped ones: what properties mean, in the order in which they are given."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import array, is_yes, number, numbers, whole
from amm_opt.importers.opendss.elements.component import (
    MOST_KV,
    PHASE_NAMES,
    Component,
    UnsupportedError,
    bus_and_nodes,
    is_delta,
)

_PAIRS = {"xhl": "xhl", "xht": "xht", "xlt": "xlt", "x12": "xhl", "x13": "xht", "x23": "xlt"}
_LISTS = {"buses": "bus", "conns": "conn", "kvs": "kv", "kvas": "kva", "taps": "tap", "%rs": "%r"}


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
        stated: ``xhl``, ``xht`` and ``xlt`` as last stated; ``pairs_stated`` whether this statement does.
        idle_end: the winding at whose bus no-load losses and magnetising current are.
        legs: of a centre-tapped one, nodes of the two halves; after ``finish`` these are one winding, on the phase of
            the primary, at the voltage of a half.
        half_ohm: impedance of a half by itself.
        link: whether it only joins a source to the one node from which several are fed.
    """

    kept: ClassVar[tuple[str, ...]] = ("lead", "magnetising")
    windings: list[Winding] = field(default_factory=lambda: [Winding(), Winding()])
    phases: int = 3
    xhl: float = 7.0
    xht: float = 35.0
    xlt: float = 30.0
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
    legs: tuple[int, int] | None = None
    half_ohm: complex = 0j
    link: bool = False
    stated: dict[str, float] = field(default_factory=lambda: {"xhl": 7.0, "xht": 35.0, "xlt": 30.0})
    pairs_stated: bool = False

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "phases":
            self.phases = whole(value)
        elif name == "windings":
            self._windings(whole(value))
        elif name == "wdg":
            self.active = whole(value) - 1
            if self.count in (2, 3) and not 0 <= self.active < self.count:
                raise UnsupportedError(f"winding {value} of {self.count}")
        elif name in _PAIRS:
            self.stated[_PAIRS[name]] = number(value)
            self.pairs_stated = True
        elif name == "xscarray":
            given = numbers(value)
            if len(given) < (3 if self.count == 3 else 1):
                raise UnsupportedError(f"xscarray = [{value}] needs a value for each pair of windings")
            self.xhl, self.xht, self.xlt = (*given, self.xht, self.xlt)[:3] if self.count == 2 else given[:3]
        elif name == "leadlag":
            self.lead = value.lower() in ("lead", "euro")
        elif name == "%loadloss":
            for winding in self.windings[:2]:
                winding.r = number(value) / 2
        elif name == "%noloadloss":
            self.no_load_loss = number(value)
        elif name == "%imag":
            self.magnetising = number(value)
        elif name == "normhkva":
            self.normal_kva = number(value)
        elif name == "xrconst":
            if is_yes(value):
                raise UnsupportedError("xrconst is not supported")
        else:
            return self._of_winding(name, value)
        return True

    def end_of_statement(self) -> None:
        """A statement that gives any of ``xhl``, ``xht`` and ``xlt`` sets all three, whatever ``xscarray`` says."""
        if self.pairs_stated:
            self.xhl, self.xht, self.xlt = (self.stated[name] for name in ("xhl", "xht", "xlt"))
            self.pairs_stated = False

    def refer(self, name: str, found: Sequence[Component]) -> None:
        """Take everything of a transformer code as it is now, but for buses and leadlag, which it has not."""
        (code,) = (x for x in found if isinstance(x, XfmrCode))
        if code.wrong:
            raise UnsupportedError(f"{code.element}: {code.wrong}")
        model = code.model
        self._wind(model.windings)
        self.count, self.phases, self.normal_kva = model.count, model.phases, model.normal_kva
        self.xhl, self.xht, self.xlt, self.stated = model.xhl, model.xht, model.xlt, dict(model.stated)
        self.no_load_loss, self.magnetising = model.no_load_loss, model.magnetising

    def _wind(self, windings: Sequence[Winding]) -> None:
        """Other windings at the same buses."""
        buses = [*(w.bus for w in self.windings), ""]
        self.windings = [replace(w, bus=bus) for w, bus in zip(windings, buses, strict=False)]

    def alike(self, other: Component) -> None:
        """Another one's values, at buses of its own."""
        own = list(self.windings)
        super().alike(other)
        windings, self.windings = self.windings, own
        self._wind(windings)

    def _windings(self, n: int) -> None:
        self.count = n
        if n not in (2, 3):
            raise UnsupportedError(
                f"{counted(n, 'winding is', 'windings are')} not supported, only two, and three with a centre tap"
            )
        if any(w != Winding() for w in self.windings):
            raise UnsupportedError("windings must be given before what it resets: buses, conns, kvs, kvas, taps, %rs")
        self.windings = [Winding() for _ in range(n)]

    def _of_winding(self, name: str, value: str) -> bool:
        """A property of the active winding, or of all as a list, which leaves the last one active."""
        if self.count not in (2, 3):
            return True
        if name in _LISTS:
            given = re.split(r"[\s,]+", value.strip("()[]{}\"' ").strip()) if name == "conns" else array(value)
            if name == "kvas" and len(given) == 1:
                given *= self.count  # OpenDSS takes it for the first winding, to which all percentages refer
            if len(given) != self.count:
                raise UnsupportedError(f"{name} = [{value}] needs a value for each of the {self.count} windings")
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
            raise UnsupportedError("every winding needs a bus")
        for w in self.windings:
            for what, given in (("kv", w.kv), ("kva", w.kva), ("tap", w.tap)):
                if not given > 0:
                    raise UnsupportedError(f"{what} = {given:g} must be positive")
            if w.kv > MOST_KV:
                raise UnsupportedError(f"kv = {w.kv:g} is more than {MOST_KV:g}")
        if self.count == 3:
            self._join_halves()
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

    def _join_halves(self) -> None:
        """The second and third winding, in series on two nodes of a bus, as one on the phase of the first.

        With star impedances z_1, z_2, z_3 in percent, equal currents in both halves meet 2 z_1 + z_2 or 2 z_1 + z_3 of
        half the power's current, so the one winding has z_1 + (z_2 + z_3) / 4.
        """
        first, *halves = self.windings
        (_, nodes), *ends = (bus_and_nodes(w.bus, 1, wye=True) for w in self.windings)
        plus, minus = ([n[i] for _, n in ends if n[i]] for i in (0, 1))
        one_bus = len({b.lower() for b, _ in ends}) == 1
        alike = halves[0].kv == halves[1].kv and halves[0].tap == halves[1].tap
        if self.phases != 1 or not one_bus or len(plus) != 1 or len(minus) != 1 or plus == minus or not alike:
            raise UnsupportedError(
                "three windings are supported for one phase with a centre tap: the second and third of the same kv and"
                " tap in series on one bus, as in house.1.0 and house.0.2"
            )
        if nodes[0] not in PHASE_NAMES or nodes[1] in PHASE_NAMES or any(is_delta(w.conn) for w in self.windings):
            raise UnsupportedError(f"unsupported: a centre tap, fed on {first.bus!r} and not from a phase to neutral")
        self.legs = (plus[0], minus[0])
        half = complex((halves[0].r + halves[1].r) / 2, self.xlt / 2) / 100.0
        self.half_ohm = half * (halves[0].kv * halves[0].tap) ** 2 * 1000.0 / first.kva
        both = replace(halves[0], bus=f"{ends[0][0]}.{nodes[0]}.0", r=(halves[0].r + halves[1].r) / 4)
        both.kva = min(first.kva, halves[0].kva + halves[1].kva)
        self.xhl = (self.xhl + self.xht) / 2 - self.xlt / 4
        self.windings, self.count = [first, both], 2

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
        one, two = (
            w.kv * (1.0 if self.phases > 1 or set(side) <= set(PHASE_NAMES) else math.sqrt(3))
            for w, side in zip(self.windings, self.nodes, strict=True)
        )
        return one, two

    @property
    def without_ground(self) -> bool:
        """Whether no current can pass through it to ground."""
        return self.between_phases or self.conns == ("delta", "delta")

    @property
    def star_floats(self) -> bool:
        """Whether the star point of its wye winding is a node of its own, without an impedance to ground."""
        ohm = self.windings[1].neutral_ohm
        return self.nodes[1][-1] > 3 and not (ohm is not None and ohm.real >= 0)

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

    def end_of_statement(self) -> None:
        """As of a transformer."""
        self.model.end_of_statement()
