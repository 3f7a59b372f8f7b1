"""Line codes, and what they have in common with lines: what properties mean, in the order in which they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import array, is_yes, number, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.lines.units import unit

SEQUENCE = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}
MATRICES = ("rmatrix", "xmatrix", "cmatrix")
SUSCEPTANCE = {"b1": "c1", "b0": "c0"}


@dataclass
class Conductors(Component):
    """Impedance (ohm) and capacitance (nF) of all conductors, per unit of length.

    Attributes:
        sequence: sequence values, which count while there is no matrix.
        z, c: matrices, once one was given.
        stated, inherited: which of all these the element gives itself, and by its line code.
    """

    n: int = 3
    sequence: dict[str, float] = field(default_factory=lambda: dict(SEQUENCE))
    z: ComplexArray | None = None
    c: FloatArray | None = None
    stated: set[str] = field(default_factory=set)
    inherited: set[str] = field(default_factory=set)
    units: str | None = None
    amps: float | None = None
    frequency: float | None = None

    def impedance(self) -> ComplexArray:
        """(n, n) series impedance per unit of length."""
        if self.z is not None:
            return self.z
        s = self.sequence
        return symmetrical(self.n, complex(s["r1"], s["x1"]), complex(s["r0"], s["x0"]))

    def capacitance(self) -> FloatArray:
        """(n, n) capacitance in nF per unit of length."""
        if self.c is not None:
            return self.c
        return symmetrical(self.n, self.sequence["c1"], self.sequence["c0"]).real

    def _only(self, others: Iterable[str], name: str) -> None:
        """What OpenDSS makes of both kinds depends on where statements end, and is hardly what was meant."""
        if mixed := self.stated & set(others):
            raise UnsupportedError(
                f"{name} beside {', '.join(sorted(mixed))}: of matrices and sequence values OpenDSS keeps only a part;"
                " give one kind"
            )

    def sequence_value(self, name: str, value: float) -> None:
        """One of r1 .. c0; the matrices of a line code count no more."""
        self._only(MATRICES, name)
        self.sequence[name] = value
        self.z = self.c = None
        self.stated.add(name)

    def matrix(self, name: str, value: str) -> None:
        """One of the three matrices; the others keep what they are."""
        given = matrix_of(value, self.n)
        if given is None:
            raise UnsupportedError(f"{name} = [{value}] is not a matrix of {self.n} conductors")
        self._only(SEQUENCE, name)
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
            raise UnsupportedError(f"{counted(n, 'conductor')}; between 1 and 20 are supported")
        self.n = n
        self.z = self.c = None
        self.stated -= set(MATRICES)

    def shared(self, name: str, value: str) -> bool:
        """A property that line codes and lines have in common; whether it was one."""
        if name in SEQUENCE:
            self.sequence_value(name, number(value))
        elif name in SUSCEPTANCE:
            omega = 2 * math.pi * (self.frequency or self.base_frequency)
            self.sequence_value(SUSCEPTANCE[name], number(value) * 1000.0 / omega)
        elif name in MATRICES:
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
            self.remarks.append(
                f"{self.element}: no linecode and no impedance: as OpenDSS takes it, 0.058+0.1206j ohm per unit of its"
                " length (r0 0.1784, x0 0.4047), whatever the unit"
            )
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

    kept: ClassVar[tuple[str, ...]] = ("units",)
    neutral: int = 0

    def alike(self, other: Component) -> None:
        """Sequence values without their units, which OpenDSS does not copy."""
        if isinstance(other, LineCode) and other.z is not None:
            raise UnsupportedError(f"like={other.element.name}: OpenDSS does not copy matrices as they are; give them")
        super().alike(other)

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


def symmetrical(n: int, first: complex, zero: complex) -> ComplexArray:
    """(n, n) matrix of a positive- and a zero-sequence value."""
    own, mutual = ((2 * first + zero) / 3, (zero - first) / 3) if n > 1 else (first, 0.0)
    return np.asarray(np.full((n, n), mutual) + (own - mutual) * np.eye(n), dtype=complex)


def matrix_of(text: str, n: int) -> FloatArray | None:
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
