"""Sources: a voltage behind an impedance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.importers.opendss.dialect.text import number, numbers, whole
from amm_opt.importers.opendss.elements.component import (
    MOST_KV,
    PHASE_NAMES,
    Component,
    UnsupportedError,
    bus_and_nodes,
)

_POWER, _CURRENT, _OHM = ("mvasc3", "mvasc1"), ("isc3", "isc1"), ("r1", "x1", "r0", "x0")
_PAIRS = {"z1": 1, "z0": 0, "z2": 2, "puz1": 1, "puz0": 0, "puz2": 2}
_POSITIVE = (*_POWER, *_CURRENT, "x1r1", "x0r0", "basemva")


@dataclass
class Source(Component):
    """A source: a voltage that is held, behind an impedance.

    Attributes:
        own_bus: where the file has it; ``bus`` may be one behind its impedance.
        nodes: its phases.
        z: ohm of the zero, positive and negative sequence.
    """

    bus: str = "sourcebus"
    own_bus: str = "sourcebus"
    kv: float = 115.0
    pu: float = 1.0
    phases: int = 3
    nodes: tuple[int, ...] = (1, 2, 3)
    ideal: bool = False
    given: dict[str, float] = field(
        default_factory=lambda: {
            "mvasc3": 2000.0, "mvasc1": 2100.0, "isc3": 10000.0, "isc1": 10540.0, "x1r1": 4.0, "x0r0": 3.0,
            "basemva": 100.0,
        }
    )  # fmt: skip
    z: list[complex] = field(default_factory=lambda: [0j, 0j, 0j])
    _place: str = ""
    _way: tuple[str, ...] = _POWER
    _per_unit: dict[int, complex] = field(default_factory=dict)
    _said: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.end_of_statement()

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "bus1":
            self._place = value
        elif name in ("basekv", "pu"):
            given = number(value)
            if not given > 0:
                raise UnsupportedError(f"{name} = {given:g} must be positive")
            if given > MOST_KV:
                raise UnsupportedError(f"{name} = {given:g} is more than {MOST_KV:g}")
            setattr(self, {"basekv": "kv"}.get(name, name), given)
        elif name == "phases":
            self.phases = whole(value)
            if self.phases not in (1, 3):
                raise UnsupportedError(f"a source of {value} phases; only one and three are supported")
        elif name == "bus2":
            if any(bus_and_nodes(value, 3)[1]):
                raise UnsupportedError(f"bus2 = {value!r}: only sources to ground are supported")
        elif name == "sequence":
            if value.lower()[:1] != "p":
                raise UnsupportedError(f"sequence = {value!r}; only the positive one is supported")
        elif name == "model":
            self.ideal = value.lower() == "ideal"
        elif name == "frequency":
            if abs(number(value) - self.base_frequency) > 1e-6:
                raise UnsupportedError(f"frequency = {value}, but the circuit is at {self.base_frequency:g} Hz")
        elif name in (*self.given, *_OHM, *_PAIRS):
            self._impedance(name, value)
        else:
            return name == "angle"
        return True

    def _impedance(self, name: str, value: str) -> None:
        """What says the impedance; of short-circuit power, current and ohm that which was given last counts."""
        if name in self.given:
            self.given[name] = number(value)
            if name in _POSITIVE and not self.given[name] > 0:
                raise UnsupportedError(f"{name} = {self.given[name]:g} must be positive")
            self._way = next((way for way in (_POWER, _CURRENT) if name in way), self._way)
            return
        self._way = _OHM
        if name in _OHM:
            which, part = int(name[1]), number(value)
            for k in (1, 2) if which == 1 else (0,):
                self.z[k] = complex(part, self.z[k].imag) if name[0] == "r" else complex(self.z[k].real, part)
            return
        given = numbers(value)
        if len(given) != 2:
            raise UnsupportedError(f"{name} = [{value}] needs a resistance and a reactance")
        which = _PAIRS[name]
        to: dict[int, complex] | list[complex] = self._per_unit if name[0] == "p" else self.z
        for k in (0, 1, 2) if which == 1 else (which,):
            if k == which or k not in self._said:
                to[k] = complex(*given)
        self._said.add(which)

    def end_of_statement(self) -> None:
        """Sequence impedances as OpenDSS finds them at the end of each statement."""
        try:
            self._sequences()
        except OverflowError:
            raise UnsupportedError(
                f"basekv = {self.kv:g} and its short-circuit power give no finite impedance"
            ) from None

    def _sequences(self) -> None:
        """As in OpenDSS (VSource.pas, RecalcElementData)."""
        if self._way == _OHM:
            for k, pu in self._per_unit.items():
                self.z[k] = pu * self.kv**2 / self.given["basemva"]
            return
        factor = 1.0 if self.phases == 1 else math.sqrt(3)
        if self._way == _POWER:
            three, one = self.given["mvasc3"], self.given["mvasc1"] * 1000.0 / (factor * self.kv)
        else:
            three, one = math.sqrt(3) * self.kv * self.given["isc3"] / 1000.0, self.given["isc1"]
        x1 = self.kv**2 / three / math.sqrt(1.0 + self.given["x1r1"] ** -2)
        z1 = complex(x1 / self.given["x1r1"], x1)
        # |2 z1 + r0 (1 + j x0r0)| is three times what the current to ground leaves of the voltage
        turn = complex(1.0, self.given["x0r0"])
        a, b = abs(turn) ** 2, 4.0 * (z1 * turn.conjugate()).real
        c = 4.0 * abs(z1) ** 2 - (3000.0 * self.kv / factor / one) ** 2
        inside = b * b - 4.0 * a * c
        r0 = (-b + math.sqrt(inside)) / (2.0 * a) if inside >= 0 else -b / (2.0 * a)
        self.z = [r0 * turn, z1, z1]

    def finish(self) -> None:
        """Where it is."""
        self.bus, self.nodes = bus_and_nodes(self._place or self.bus, self.phases)
        self.own_bus = self.bus
        if self.nodes != (1, 2, 3) and (self.phases != 1 or self.nodes[0] not in PHASE_NAMES):
            raise UnsupportedError(f"a source on nodes {self.nodes}, not on 1, 2, 3")

    @property
    def line_kv(self) -> float:
        """Rated voltage between lines."""
        return self.kv * (math.sqrt(3) if self.phases == 1 else 1.0)

    @property
    def z_ohm(self) -> ComplexArray:
        """Impedance of its phases.

        Raises:
            UnsupportedError: where that of the negative sequence is another one than that of the positive, or one of
                their resistances or reactances is negative.
        """
        zero, positive, negative = self.z
        if min(min(x.real, x.imag) for x in self.z) < 0:
            raise UnsupportedError(
                f"z1 = {positive:.4g} ohm, z0 = {zero:.4g} ohm: negative is not supported; OpenDSS finds such z0 where"
                " mvasc1 or isc1 (2100 MVA, 10.54 kA by default) are large beside mvasc3 or isc3: give both, or pass"
                " source_impedance=False to leave the source's impedance out"
            )
        if self.phases == 1:
            return np.array([[positive if self._way == _OHM else (2 * positive + zero) / 3]], dtype=complex)
        if negative != positive:
            raise UnsupportedError(
                f"z2 = {negative:.4g} ohm unlike z1 = {positive:.4g} ohm is not supported; pass source_impedance=False"
                " to leave the source's impedance out"
            )
        mutual = (zero - positive) / 3
        return np.asarray(positive * np.eye(3) + mutual, dtype=np.complex128)
