"""The source."""

from __future__ import annotations

from dataclasses import dataclass

from amm_opt.importers.opendss.dialect.text import number, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError, bus_and_nodes


@dataclass
class Source(Component):
    """The circuit's source: a bus whose voltage is held."""

    bus: str = "sourcebus"
    kv: float = 115.0
    pu: float = 1.0
    ideal: bool = False
    impedance: str = ""

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "bus1":
            self.bus, nodes = bus_and_nodes(value, 3)
            if nodes != (1, 2, 3):
                raise UnsupportedError(f"a source on nodes {nodes}, not on 1, 2, 3")
        elif name in ("basekv", "pu"):
            given = number(value)
            if not given > 0:
                raise UnsupportedError(f"{name} = {given:g} must be positive")
            setattr(self, {"basekv": "kv"}.get(name, name), given)
        elif name == "phases":
            if whole(value) != 3:
                raise UnsupportedError(f"a source of {value} phases; only three are supported")
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
        else:
            if name[:2] in ("mv", "is", "r1", "x1", "r0", "x0", "z1", "z0", "z2", "pu"):
                self.impedance = f"{name}={value}"
            return name == "angle"
        return True
