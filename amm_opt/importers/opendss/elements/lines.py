"""Line codes and lines: what their properties mean, in the order in which they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.importers.opendss.dialect.text import array, is_yes, number, whole
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, Component, UnsupportedError, bus_and_nodes

METRES = {
    "mi": 1609.344,
    "kft": 304.8,
    "km": 1000.0,
    "m": 1.0,
    "ft": 0.3048,
    "in": 0.0254,
    "cm": 0.01,
    "mm": 0.001,
}
_SEQUENCE = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}
_SWITCH = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1e-9, "c0": 1.0e-9}
_MATRICES = ("rmatrix", "xmatrix", "cmatrix")
_SUSCEPTANCE = {"b1": "c1", "b0": "c0"}


@dataclass
class Conductors(Component):
    """Impedance (ohm) and capacitance (nF) of all conductors, per unit of length.

    Attributes:
        sequence: sequence values, which count while there is no matrix.
        z, c: matrices, once one was given.
        stated, inherited: which of all these the element gives itself, and by its line code.
    """

    n: int = 3
    sequence: dict[str, float] = field(default_factory=lambda: dict(_SEQUENCE))
    z: ComplexArray | None = None
    c: FloatArray | None = None
    stated: set[str] = field(default_factory=set)
    inherited: set[str] = field(default_factory=set)
    units: str | None = None
    amps: float | None = None
    frequency: float | None = None

    def symmetrical(self, first: complex, zero: complex) -> ComplexArray:
        """(n, n) matrix of a positive- and a zero-sequence value."""
        own, mutual = ((2 * first + zero) / 3, (zero - first) / 3) if self.n > 1 else (first, 0.0)
        return np.asarray(np.full((self.n, self.n), mutual) + (own - mutual) * np.eye(self.n), dtype=complex)

    def impedance(self) -> ComplexArray:
        """(n, n) series impedance per unit of length."""
        if self.z is not None:
            return self.z
        s = self.sequence
        return self.symmetrical(complex(s["r1"], s["x1"]), complex(s["r0"], s["x0"]))

    def capacitance(self) -> FloatArray:
        """(n, n) capacitance in nF per unit of length."""
        if self.c is not None:
            return self.c
        return self.symmetrical(self.sequence["c1"], self.sequence["c0"]).real

    def _only(self, others: Iterable[str], name: str) -> None:
        """What OpenDSS makes of both kinds depends on where statements end, and is hardly what was meant."""
        if mixed := self.stated & set(others):
            raise UnsupportedError(
                f"{name} beside {', '.join(sorted(mixed))}: of matrices and sequence values OpenDSS keeps only a part;"
                " give one kind"
            )

    def sequence_value(self, name: str, value: float) -> None:
        """One of r1 .. c0; the matrices of a line code count no more."""
        self._only(_MATRICES, name)
        self.sequence[name] = value
        self.z = self.c = None
        self.stated.add(name)

    def matrix(self, name: str, value: str) -> None:
        """One of the three matrices; the others keep what they are."""
        given = _matrix(value, self.n)
        if given is None:
            raise UnsupportedError(f"{name} = [{value}] is not a matrix of {self.n} conductors")
        self._only(_SEQUENCE, name)
        self.z, self.c = self.impedance().copy(), self.capacitance()
        if name == "rmatrix":
            self.z.real = given
        elif name == "xmatrix":
            self.z.imag = given
        else:
            self.c = given
        self.stated.add(name)

    def resize(self, n: int) -> None:
        """Another number of conductors: sequence values are kept, matrices begin anew."""
        if n < 1 or n > 20:
            raise UnsupportedError(f"{n} conductors; between 1 and 20 are supported")
        self.n = n
        self.z = self.c = None
        self.stated -= set(_MATRICES)

    def shared(self, name: str, value: str) -> bool:
        """A property that line codes and lines have in common; whether it was one."""
        if name in _SEQUENCE:
            self.sequence_value(name, number(value))
        elif name in _SUSCEPTANCE:
            omega = 2 * math.pi * (self.frequency or self.base_frequency)
            self.sequence_value(_SUSCEPTANCE[name], number(value) * 1000.0 / omega)
        elif name in _MATRICES:
            self.matrix(name, value)
        elif name == "normamps":
            self.amps = number(value)
        elif name == "basefreq":
            self.frequency = number(value)
            if not self.frequency > 0:
                raise UnsupportedError(f"basefreq = {self.frequency:g} must be positive")
        else:
            return False
        return True

    def complete(self) -> None:
        """Problems with what is missing."""
        given = self.stated | self.inherited
        if not given - {"c1", "c0", "cmatrix"}:
            raise UnsupportedError("no linecode and no impedance")
        if self.z is not None and not given & {"r1", "x1", "r0", "x0"}:
            for name in ("rmatrix", "xmatrix"):
                if name not in given:
                    raise UnsupportedError(f"{name} is missing")
        if self.frequency is not None and abs(self.frequency - self.base_frequency) > 1e-6:
            raise UnsupportedError(
                f"basefreq = {self.frequency:g}, but the circuit is at {self.base_frequency:g} Hz: say so by"
                " 'set defaultbasefrequency'"
            )


@dataclass
class LineCode(Conductors):
    """A line code; ``kron`` reduces matrices and leaves sequence values alone, as in OpenDSS."""

    neutral: int = 0

    def begin_statement(self) -> None:
        """A statement may change from one kind of values to the other."""
        self.inherited |= self.stated
        self.stated = set()

    def _reduce(self, out: int) -> None:
        if not 0 <= out < self.n or self.n < 2:
            raise UnsupportedError(f"kron = yes: there is no neutral conductor {out + 1} of {self.n}")
        kept = [i for i in range(self.n) if i != out]
        self.z = reduced_neutral(self.impedance(), kept, [out], "kron")
        self.c = self.capacitance()[np.ix_(kept, kept)]
        self.n -= 1

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "nphases":
            self.resize(whole(value))
        elif name == "units":
            self.units = unit(value)
        elif name == "neutral":
            self.neutral = whole(value)
        elif name == "kron":
            if is_yes(value) and self.z is not None:
                self._reduce((self.neutral or self.n) - 1)
        else:
            return self.shared(name, value)
        return True


@dataclass
class Line(Conductors):
    """A line; after ``finish``, ``z_ohm`` and ``c_nf`` cover all conductors, neutrals too."""

    ends: dict[str, str] = field(default_factory=lambda: {"bus1": "", "bus2": ""})
    length: float = 1.0
    factor: float = 1.0
    code: str = ""
    code_units: str | None = None
    phases: int | None = None
    switch: bool = False
    from_code: bool = False
    buses: tuple[str, str] = ("", "")
    nodes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    z_ohm: ComplexArray = field(default_factory=lambda: np.zeros((0, 0), dtype=complex))
    c_nf: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    metres: float = math.nan

    @property
    def ohm_per_km(self) -> float:
        """Resistance of a conductor by itself, without what all have in common; NaN without units or length."""
        r, n = self.z_ohm.real, len(self.z_ohm)
        mutual = (r.sum() - np.trace(r)) / (n * (n - 1)) if n > 1 else 0.0
        return float((np.trace(r) / n - mutual) / (self.metres / 1000.0)) if self.metres > 0 else math.nan

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in self.ends:
            self.ends[name] = value
        elif name == "phases":
            self._phases(whole(value))
        elif name == "length":
            self.length = number(value)
        elif name == "units":
            self._units(unit(value))
        elif name == "switch":
            self.switch = is_yes(value)
            if self.switch:
                self.sequence.update(_SWITCH)
                self.z = self.c = None
                self.stated, self.inherited = set(_SWITCH), set()
                self.length = 0.001
                self._own()
        elif name in ("geometry", "spacing", "wires", "cncables", "tscables"):
            raise UnsupportedError(f"{name} is not supported: give a linecode or matrices")
        elif self.shared(name, value):
            if name in _SEQUENCE or name in _MATRICES or name in _SUSCEPTANCE:
                self._own()
        else:
            return False
        return True

    def _phases(self, n: int) -> None:
        if self.z is not None and n != self.n:
            raise UnsupportedError(f"phases = {n}, but its linecode {self.code!r} has {self.n} conductors")
        self.phases = n
        if n != self.n:
            self.resize(n)

    def _units(self, new: str | None) -> None:
        """A change of units keeps the impedance per metre; what the line says itself begins without units."""
        if self.from_code:
            self.factor = _ratio(self.code_units, new)
        else:
            self.factor *= _ratio(self.units, new)
        self.units = new

    def _own(self) -> None:
        """Impedances of its own are per unit of its own length, whatever the units."""
        self.factor, self.units, self.from_code = 1.0, None, False

    def take(self, name: str, code: LineCode) -> None:
        """Everything of a line code as it is now."""
        if self.phases is not None and self.phases != code.n:
            raise UnsupportedError(f"phases = {self.phases}, but its linecode {name!r} has {code.n} conductors")
        if code.z is not None and self.stated & set(_SEQUENCE):
            raise UnsupportedError(f"linecode {name!r} has matrices and follows {', '.join(sorted(self.stated))}")
        self.n, self.stated, self.inherited = code.n, set(), code.stated | code.inherited
        if code.z is None:
            self.sequence = dict(code.sequence)
            self.z = self.c = None
        else:
            self.z, self.c = code.z.copy(), code.capacitance()
        self.amps, self.frequency = code.amps, code.frequency
        self.code, self.code_units, self.from_code = name, code.units, True
        self.factor = _ratio(code.units, self.units)

    def finish(self) -> None:
        """Ends, impedance and capacitance of the whole length."""
        if not (self.ends["bus1"] and self.ends["bus2"]):
            raise UnsupportedError("bus1 and bus2 must be given")
        if not self.length > 0:
            raise UnsupportedError(f"length = {self.length:g} must be positive")
        self.complete()
        (first, nodes1), (second, nodes2) = (bus_and_nodes(self.ends[k], self.n) for k in ("bus1", "bus2"))
        self.buses, self.nodes = (first, second), (nodes1, nodes2)
        if self.from_code and bool(self.code_units) != bool(self.units) and not self.switch:
            self.remarks.append(
                f"{self.element}: {'no units' if not self.units else 'units but a linecode without'}; its length is"
                f" taken in the units of linecode {self.code!r}, as OpenDSS does"
            )
        self.z_ohm = self.impedance() * (self.length * self.factor)
        self.c_nf = self.capacitance() * (self.length * self.factor) * self._default_capacitance()
        known = self.units or (self.code_units if self.from_code else None)
        self.metres = self.length * METRES[known] if known else math.nan

    def _default_capacitance(self) -> float:
        """Where a line gives sequence values without capacitance, OpenDSS takes its own to be per 1000 ft."""
        own = self.z is None and bool(self.stated & {"r1", "x1", "r0", "x0"})
        stated = self.stated & {"c1", "c0"} and not self.switch
        return METRES[self.units] / METRES["kft"] if own and not stated and self.units else 1.0


def unit(value: str) -> str | None:
    """A unit of length; None for ``none``.

    Raises:
        UnsupportedError: where it is unknown.
    """
    name = value.lower()
    if name == "none":
        return None
    found = next((u for u in METRES if u == name), None) or next((u for u in METRES if name.startswith(u)), None)
    if found is None:
        raise UnsupportedError(f"unknown units {value!r}; valid choices: none, {', '.join(METRES)}")
    return found


def _ratio(old: str | None, new: str | None) -> float:
    """Factor on a value per ``old`` unit that makes it one per ``new`` unit; 1 where either is unknown."""
    return METRES[new] / METRES[old] if old and new else 1.0


def _matrix(text: str, n: int) -> FloatArray | None:
    """Full or lower-triangle matrix of n rows."""
    rows = [r for r in (array(part) for part in text.split("|")) if r]
    lengths = [len(r) for r in rows]
    if len(rows) == 1 and lengths == [n * n]:
        rows = [rows[0][i * n : (i + 1) * n] for i in range(n)]
        lengths = [n] * n
    if len(rows) != n or (lengths != [n] * n and lengths != list(range(1, n + 1))):
        return None
    out = np.zeros((n, n))
    for i, row in enumerate(rows):
        out[i, : len(row)] = [number(x) for x in row]
    if lengths != [n] * n:
        out = out + np.tril(out, -1).T
    return out


def split_conductors(nodes: Iterable[int]) -> tuple[list[int], list[int]]:
    """Positions of phase conductors (nodes 1 to 3) and of neutrals (ground, or nodes from 4)."""
    listed = list(nodes)
    return [i for i, n in enumerate(listed) if n in PHASE_NAMES], [
        i for i, n in enumerate(listed) if n not in PHASE_NAMES
    ]


def reduced_neutral(z: ComplexArray, phases: list[int], neutrals: list[int], how: str) -> ComplexArray:
    """Phase impedances after taking the neutral out.

    ``"kron"``: the neutral is grounded at both ends, so its voltage drop is zero: Z_pp - Z_pn Z_nn^-1 Z_np (W. H.
    Kersting, "Distribution System Modeling and Analysis", section 4.1). ``"return"``: the neutral is not grounded, so
    it carries the whole return current, and voltages are between phase and neutral: Z_ij - Z_in - Z_nj + Z_nn.
    ``"idle"``: it carries no current.
    """
    if not neutrals or how == "idle":
        return z if len(phases) == len(z) else z[np.ix_(phases, phases)]
    order = phases + neutrals
    z, k = z[np.ix_(order, order)], len(phases)
    if how == "kron":
        return np.asarray(z[:k, :k] - z[:k, k:] @ np.linalg.solve(z[k:, k:], z[k:, :k]))
    return np.asarray(z[:k, :k] - z[:k, k:] - z[k:, :k] + z[k, k])


def charging_kvar(c_nf: FloatArray, phases: list[int], vn_kv: float, frequency: float) -> FloatArray:
    """Reactive power that a line's capacitance feeds into each phase at nominal, balanced voltages.

    A conductor draws j w (C_ii V_i + sum C_ik V_k), and the other phases stand at 120 degrees, so each mutual term
    counts by -1/2; neutrals are at no voltage.

    Args:
        c_nf: (n, n) capacitance of the whole line in nF.
        vn_kv: line-to-line voltage.
    """
    c = c_nf[np.ix_(phases, phases)]
    own = np.diag(c)
    effective = own - 0.5 * (c.sum(axis=1) - own)
    return np.asarray(2 * math.pi * frequency * 1e-9 * effective * (vn_kv * 1000.0) ** 2 / 3.0 / 1000.0)
