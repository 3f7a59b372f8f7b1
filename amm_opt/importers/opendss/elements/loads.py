"""Loads and capacitors: their power, in the order in which properties are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import array, number, numbers, whole
from amm_opt.importers.opendss.elements.component import Component, Terminal, UnsupportedError, bus_and_nodes, is_delta
from amm_opt.importers.people import MIN_POWER_FACTOR

HOURS_PER_DAY = 24.0
MODELS = tuple("12345678")
FIXED_KVAR = ("6", "7")
"""Models whose kvar no multiplier and no load shape changes."""
ZIP_PARTS = 7
"""Of constant impedance, current and power, for kW and for kvar, and the voltage below which there is nothing."""
MOST_EXPONENT = 100.0
BILLED = ("kwh", "kwh_days", "c_factor")
_PF_RANGE = "must be within 0..1 (or -1..0) and not 0"


@dataclass
class Load(Terminal):
    """A load. Of five specifications OpenDSS keeps the last that was given, and works it out when the statement ends.

    Connected kVA and billed kWh are worked out where they are given, with the power factor of that moment; a later
    power factor then changes kvar only.
    """

    model: str = "1"
    exponents: tuple[float, float] = (1.0, 2.0)
    v_min: float = 0.95
    v_max: float = 1.05
    v_low: float = 0.5
    zip_parts: tuple[float, ...] = ()
    status: str = "variable"
    kw: float = 10.0
    kvar: float = 5.0
    kva: float = 10.0 / 0.88
    pf: float = 0.88
    by: str = "kw"
    xfkva: float = 0.0
    allocation: float = 0.5
    kwh: float = 0.0
    kwh_days: float = 30.0
    c_factor: float = 4.0
    pf_changed: bool = False
    pf_given: bool = False
    scale: float = 1.0
    shapes: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    taken: complex | None = None

    def __post_init__(self) -> None:
        self.end_of_statement()

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in ("phases", "bus1", "conn", "model", "status"):
            setattr(self, name, whole(value) if name == "phases" else value.lower() if name != "bus1" else value)
            self.lost = "" if name in ("phases", "conn") else self.lost
        elif name in ("kv", "kw", "kvar", "kva", "pf", "xfkva", "kwh"):
            setattr(self, name, number(value))
            self._specified(name)
        elif name in ("vminpu", "vmaxpu", "vlowpu"):
            setattr(self, {"vminpu": "v_min", "vmaxpu": "v_max", "vlowpu": "v_low"}[name], number(value))
            return False
        elif name in ("cvrwatts", "cvrvars"):
            own = self.exponents
            self.exponents = (number(value), own[1]) if name == "cvrwatts" else (own[0], number(value))
        elif name == "zipv":
            self.zip_parts = tuple(numbers(value))
        elif name in ("allocationfactor", "cfactor", "kwhdays"):
            self.allocate(name, number(value))
        elif name in ("yearly", "daily", "duty"):
            self.shapes[name] = value.lower()
            if name == "daily":
                self.shapes.setdefault("yearly", value.lower())
        else:
            return False
        return True

    def alike(self, other: Component) -> None:
        """Powers as the other load's statements leave them, not as its properties would in one statement.

        Billed energy and its factors are not copied, only the power that they gave.
        """
        super().alike(other)
        for name in BILLED:
            setattr(self, name, getattr(Load, name))
        if self.delta and self.phases > 1:
            self.lost = f"like={other.element.name}: OpenDSS does not copy the delta as it is there; give conn=delta"

    def _specified(self, name: str) -> None:
        if name == "pf":
            self.pf_changed = self.pf_given = True
        elif name != "kv":
            self.by = name
            self.pf_given = self.pf_given and name != "kvar"
            self._allocated()

    def actual(self, kw: float, kvar: float) -> None:
        """The largest power of a load shape in kW, which it sets; kvar follow a power factor, where that was given."""
        self.kw, self.kvar = kw, kvar
        self.by = "kw" if self.pf_given else "kvar"

    def shape(self, followed: Sequence[str]) -> str:
        """Name of the first of these load shapes that it has (``"yearly"``, ``"daily"``, ``"duty"``); none if fixed."""
        return "" if self.status[:1] == "f" else next((self.shapes[n] for n in followed if n in self.shapes), "")

    @property
    def power(self) -> complex:
        """kW + j kvar at its rated voltage: as stated, or as ``taken`` at an hour of its load shape."""
        return complex(self.kw * self.scale, self.kvar * self.kvar_scale) if self.taken is None else self.taken

    @property
    def kvar_scale(self) -> float:
        """What multiplies its kvar: nothing, of the models of fixed reactive power."""
        return 1.0 if self.model in FIXED_KVAR else self.scale

    def allocate(self, name: str, value: float) -> None:
        """Another factor on connected kVA or billed kWh."""
        attribute = {"allocationfactor": "allocation", "cfactor": "c_factor", "kwhdays": "kwh_days"}[name]
        setattr(self, attribute, value)
        self.by = "xfkva" if name == "allocationfactor" else "kwh"
        self._allocated()

    def _allocated(self) -> None:
        if self.by == "xfkva" and self.xfkva > 0:
            self.kw = self.xfkva * self.allocation * abs(self.pf)
        elif self.by == "kwh" and self.kwh_days > 0:
            self.kw = self.kwh / (self.kwh_days * HOURS_PER_DAY) * self.c_factor
        else:
            return
        self.kvar = self._by_factor(self.kw)

    def _by_factor(self, kw: float) -> float:
        """NaN for a power factor of 0, which a later one may still replace."""
        if not abs(self.pf) <= 1:
            raise UnsupportedError(f"pf = {self.pf:g} {_PF_RANGE}")
        if self.pf == 0:
            return math.nan
        return kvar_of(kw, self.pf)

    def end_of_statement(self) -> None:
        """After all properties of a statement."""
        if self.by == "kvar":
            size = math.hypot(self.kw, self.kvar)
            if size > 0:
                self.pf = self.kw / size * math.copysign(1.0, self.kw * self.kvar if self.kvar else 1.0)
        else:
            if self.by == "kva":
                self.kw = self.kva * abs(self.pf)
            if self.by in ("kw", "kva") or self.pf_changed:
                self.kvar = self._by_factor(self.kw)
        self.pf_changed = False

    def finish(self) -> None:
        """Bus and nodes."""
        if self.lost:
            raise UnsupportedError(f"{self.lost} after it")
        if math.isnan(self.kvar):
            raise UnsupportedError(f"pf = 0 {_PF_RANGE}")
        if self.phases < 1:
            raise UnsupportedError(f"phases = {self.phases} must be positive")
        if self.model not in MODELS:
            raise UnsupportedError(f"model = {self.model}; valid choices: {', '.join(MODELS)}")
        if max(map(abs, self.exponents)) > MOST_EXPONENT:
            raise UnsupportedError(
                f"cvrwatts = {self.exponents[0]:g}, cvrvars = {self.exponents[1]:g}: at most 100 each"
            )
        if self.model == "8" and len(self.zip_parts) != ZIP_PARTS:
            raise UnsupportedError(f"model = 8 needs {ZIP_PARTS} numbers as zipv, not {len(self.zip_parts)}")
        self.bus, self.nodes = bus_and_nodes(self.bus1, self.phases, wye=not self.delta or self.phases < 3)
        if not self.bus:
            raise UnsupportedError("bus1 must be given")
        if self.open_delta and self.bus1.count(".") < 3:
            raise UnsupportedError(
                f"phases=2 in delta on {self.bus1!r}: OpenDSS puts half of it between its two nodes and half from the"
                f" second to ground; say phases=1, or give the three nodes of an open delta, as in {self.bus}.1.2.3"
            )
        if self.delta and self.phases == 1 and self.bus1.count(".") < 2:
            raise UnsupportedError(
                f"a load between phases needs both nodes, as in {self.bus}.1.2; OpenDSS takes it from one to ground"
            )
        if not self.kv > 0:
            raise UnsupportedError(f"kv = {self.kv:g} must be positive")

    @property
    def open_delta(self) -> bool:
        """Whether it is in two equal parts, from its first node to the second and from the second to the third."""
        return self.delta and self.phases == 2

    @property
    def phase_nodes(self) -> tuple[int, ...]:
        """Its nodes but for the neutral."""
        return self.nodes[:3] if self.open_delta else super().phase_nodes

    def at_voltage(self, pu: float) -> complex:
        """kW and kvar at a voltage, in pu of its own, by its model."""
        p, q = {
            "2": (pu**2, pu**2),
            "3": (1.0, pu**2),
            "4": (pu ** self.exponents[0], pu ** self.exponents[1]),
            "5": (pu, pu),
            "7": (1.0, pu**2),
        }.get(self.model, (1.0, 1.0))
        if self.model == "8":
            z = self.zip_parts
            p, q = (z[i] * pu**2 + z[i + 1] * pu + z[i + 2] for i in (0, 3))
        return complex(self.power.real * p, self.power.imag * q)

    def met(self, pu: float) -> complex:
        """kW and kvar at a voltage that it meets, in pu of its own.

        Below ``vminpu`` its current goes linearly to that of constant impedance at ``vlowpu``, above ``vmaxpu`` it is
        constant impedance; of models 3 and 4 that of constant power counts there, and models 6 and 7 are constant
        impedance below as well.
        """
        inside = self.v_min <= pu <= self.v_max
        if inside or self.model == "2":
            return self.at_voltage(pu)
        rated = self.power
        edge = self.v_min if pu < self.v_min else self.v_max
        at_edge = rated if self.model in ("1", "3", "4", "6", "7") else self.at_voltage(edge)
        if self.model in FIXED_KVAR:
            return complex(rated.real * (pu / edge) ** 2, rated.imag * pu**2)
        if pu > self.v_max:
            return at_edge * (pu / edge) ** 2
        if pu <= self.v_low or self.v_low >= self.v_min:
            return rated * pu**2
        part = (pu - self.v_low) / (self.v_min - self.v_low)
        return pu * (rated * self.v_low * (1.0 - part) + at_edge / edge * part)

    @property
    def fixed(self) -> bool:
        """Whether the circuit's load multiplier leaves it alone."""
        return self.status[:1] in ("f", "e")


def kvar_of(kw: float, pf: float) -> float:
    """Reactive power at a power factor; negative where that is."""
    return kw * math.sqrt(1.0 / pf**2 - 1.0) * math.copysign(1.0, pf)


def power_factor_and_rest(kw: float, kvar: float) -> tuple[float, float]:
    """Power factor of a load, and the kvar that it cannot carry: all of it where there is (almost) no active power."""
    size = math.hypot(kw, kvar)
    if size == 0:
        return 1.0, 0.0
    if abs(kw) < MIN_POWER_FACTOR * size:
        return 1.0, kvar
    return abs(kw) / size * (-1.0 if kvar * kw < 0 else 1.0), 0.0


@dataclass
class Capacitor(Component):
    """A capacitor to ground: fixed reactive power at nominal voltage."""

    kept: ClassVar[tuple[str, ...]] = ("ends",)
    phases: int = 3
    ends: dict[str, str] = field(default_factory=lambda: {"bus1": "", "bus2": ""})
    kv: float = 12.47
    conn: str = "wye"
    steps: list[float] = field(default_factory=lambda: [1200.0])
    states: list[int] = field(default_factory=lambda: [1])
    bus: str = ""
    nodes: tuple[int, ...] = ()

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in self.ends:
            self.ends[name] = value
        elif name == "phases":
            self.phases = whole(value)
        elif name == "kv":
            self.kv = number(value)
        elif name == "conn":
            self.conn = value
        elif name == "kvar":
            self._kvar(numbers(value))
        elif name == "numsteps":
            self._split(whole(value))
        elif name == "states":
            self._states([whole(x) for x in array(value)])
        elif name in ("cmatrix", "cuf", "r", "xl", "harm"):
            raise UnsupportedError(f"{name} is not supported: give kvar and kv")
        else:
            return False
        return True

    def _split(self, n: int) -> None:
        """Of one step it makes as many, all of them on; of several it only drops the last ones."""
        if n < 1 or n > len(self.steps) > 1:
            raise UnsupportedError(f"numsteps = {n} after {counted(len(self.steps), 'step')}")
        if len(self.steps) == 1 < n:
            self.steps, self.states = [self.steps[0] / n] * n, [1] * n
        self.steps, self.states = self.steps[:n], self.states[:n]

    def _kvar(self, given: list[float]) -> None:
        if len(given) != len(self.steps):
            raise UnsupportedError(
                f"{counted(len(given), 'value')} of kvar for numsteps = {len(self.steps)} so far; give each"
            )
        if len(set(given)) > 1:
            raise UnsupportedError(f"steps of different kvar {given}: OpenDSS gives every step the first value")
        self.steps = given

    def _states(self, given: list[int]) -> None:
        if len(given) != len(self.steps):
            raise UnsupportedError(f"{counted(len(given), 'state')} for numsteps = {len(self.steps)} so far; give each")
        self.states = given

    @property
    def phase_nodes(self) -> tuple[int, ...]:
        """Its nodes."""
        return self.nodes

    @property
    def kvar(self) -> float:
        """Reactive power at rated voltage of the steps that are on."""
        return sum(kvar for kvar, on in zip(self.steps, self.states, strict=True) if on)

    def finish(self) -> None:
        """Check what the script leaves."""
        delta = is_delta(self.conn)
        self.bus, self.nodes = bus_and_nodes(self.ends["bus1"], self.phases)
        if not self.bus:
            raise UnsupportedError("bus1 must be given")
        if not self.kv > 0:
            raise UnsupportedError(f"kv = {self.kv:g} must be positive")
        if delta and sum(map(bool, self.states)) > 1:
            raise UnsupportedError("several steps in delta: OpenDSS adds every step to those before it once more")
        if self.ends["bus2"]:
            other, nodes = bus_and_nodes(self.ends["bus2"], self.phases)
            if other.lower() != self.bus.lower() or any(nodes):
                raise UnsupportedError(
                    f"a capacitor between {self.ends['bus1']!r} and {self.ends['bus2']!r}, not to ground"
                )
        if not set(self.nodes) <= {1, 2, 3} or len(set(self.nodes)) != self.phases or (delta and self.phases != 3):
            raise UnsupportedError(f"a {'delta ' if delta else ''}capacitor on nodes {self.nodes}")
