"""What OpenDSS elements mean: impedances in ohm, phases and neutrals, transformers, customers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases.importers.opendss_text import Element, Script, array, is_yes

ComplexArray = NDArray[np.complex128]

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
_SYMMETRICAL = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047}
_SWITCH = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0}
PHASE_NAMES = {1: "a", 2: "b", 3: "c"}


@dataclass
class Conductors:
    """Impedance of all conductors of a line code or line, per unit of ``units`` (None: per length of the line)."""

    n: int = 3
    z: ComplexArray | None = None
    sequence: dict[str, float] = field(default_factory=dict)
    units: str | None = None
    amps: float | None = None
    parts: frozenset[str] = frozenset()

    def matrix(self) -> ComplexArray | None:
        """(n, n) series impedance, or None where nothing was given."""
        if self.z is not None:
            return self.z
        if not self.sequence:
            return None
        values = {**_SYMMETRICAL, **self.sequence}
        z1, z0 = complex(values["r1"], values["x1"]), complex(values["r0"], values["x0"])
        if self.n == 1:
            z0 = z1
        own, mutual = (2 * z1 + z0) / 3, (z0 - z1) / 3
        return np.asarray(np.full((self.n, self.n), mutual) + (own - mutual) * np.eye(self.n))


@dataclass
class Line:
    """A line: conductors between two buses. ``z_ohm`` covers all of them, neutrals too; NaN metres are unknown."""

    element: Element
    buses: tuple[str, str]
    nodes: tuple[tuple[int, ...], tuple[int, ...]]
    z_ohm: ComplexArray
    metres: float
    switch: bool
    closed: bool
    code: str
    amps: float | None


@dataclass
class Transformer:
    """A transformer of two windings; resistance and reactance in percent of its rating."""

    element: Element
    buses: tuple[str, str]
    nodes: tuple[tuple[int, ...], tuple[int, ...]]
    conns: tuple[str, str]
    kv: tuple[float, float]
    taps: tuple[float, float]
    kva: float
    r_percent: float
    xhl: float
    phases: int
    lead: bool
    closed: bool


@dataclass
class Load:
    """A load as the file gives it."""

    element: Element
    bus: str
    nodes: tuple[int, ...]
    phases: int
    delta: bool
    kv: float
    kw: float
    power_factor: float
    model: str


class Elements:
    """Every element of a script that a network is made of; what is wrong goes to ``problems`` with file and line."""

    def __init__(self, script: Script) -> None:
        self.problems = list(script.problems)
        self.assumed: list[str] = []
        self.disabled = [e for e in script.elements.values() if not e.enabled]
        self._codes = {e.name: self._code(e) for e in script.of("linecode")}
        self.lines = [x for e in script.of("line") if (x := self._guarded(self._line, e))]
        self.transformers = [x for e in script.of("transformer") if (x := self._guarded(self._transformer, e))]
        self.loads = [x for e in script.of("load") if (x := self._guarded(self._load, e))]
        self.grounding: dict[str, float] = {}
        for e in script.of("reactor"):
            self._guarded(self._reactor, e)
        self.sources = [x for e in script.of("vsource") if (x := self._guarded(self._source, e))]

    def _problem(self, element: Element, text: str) -> None:
        self.problems.append(f"{element}: {text}")

    def _guarded(self, make: Callable[[Element], Any], element: Element) -> Any:
        try:
            return make(element)
        except ValueError as error:
            self._problem(element, f"cannot read a number: {error}")
            return None

    def _code(self, element: Element) -> Conductors:
        code = Conductors()
        try:
            for name, value in element.given:
                if name == "nphases":
                    code.n = int(value)
                else:
                    self._impedance(element, code, name, value)
        except ValueError as error:
            self._problem(element, f"cannot read a number: {error}")
        return code

    def _impedance(self, element: Element, code: Conductors, name: str, value: str) -> None:
        """One property that line codes and lines share."""
        if name in _SYMMETRICAL:
            code.sequence[name] = float(value)
            code.z = None
        elif name in ("rmatrix", "xmatrix"):
            matrix = _matrix(value, code.n)
            if matrix is None:
                self._problem(element, f"{name} = [{value}] is not a matrix of {code.n} conductors")
                return
            known = code.matrix()
            z = np.zeros((code.n, code.n), dtype=complex) if known is None else known.copy()
            code.parts |= {name}
            if name == "rmatrix":
                z.real = matrix
            else:
                z.imag = matrix
            code.z = z
        elif name == "units":
            code.units = self._unit(element, value)
        elif name == "normamps":
            code.amps = float(value)
        elif name == "kron" and is_yes(value):
            self._problem(element, "kron=yes is not supported: the importer reduces neutrals itself")

    def _unit(self, element: Element, value: str) -> str | None:
        unit = value.lower()
        if unit == "none":
            return None
        found = next((u for u in METRES if u == unit), None) or next((u for u in METRES if unit.startswith(u)), None)
        if found is None:
            self._problem(element, f"unknown units {value!r}; valid choices: none, {', '.join(METRES)}")
        return found

    def _line(self, element: Element) -> Line | None:
        own = Conductors()
        code_name, code_units, length, switch, closed = "", None, 1.0, False, True
        ends = {"bus1": "", "bus2": ""}
        phases: int | None = None
        for name, value in element.given:
            if name in ends:
                ends[name] = value
            elif name == "linecode":
                code = self._codes.get(value.lower())
                if code is None:
                    self._problem(element, f"unknown linecode {value!r}")
                    return None
                code_name, code_units = value, code.units
                own = Conductors(code.n, code.z, dict(code.sequence), own.units, code.amps, code.parts)
            elif name == "phases":
                phases = int(value)
                if own.z is None:
                    own.n = phases
            elif name == "length":
                length = float(value)
            elif name == "switch":
                switch = is_yes(value)
                if switch:
                    own.z, own.sequence, own.units, length, code_units = None, dict(_SWITCH), None, 0.001, None
            elif name in ("geometry", "spacing"):
                self._problem(element, f"{name} is not supported: give a linecode or matrices")
                return None
            elif name == "#open":
                closed = value == "no"
            else:
                self._impedance(element, own, name, value)
        z = own.matrix()
        if z is None:
            self._problem(element, "no linecode and no impedance")
            return None
        if own.z is not None and not own.sequence and len(own.parts) < 2:
            self._problem(element, f"{next(iter({'rmatrix', 'xmatrix'} - own.parts))} is missing")
            return None
        if phases is not None and phases != own.n:
            self._problem(element, f"phases = {phases}, but its linecode {code_name!r} has {own.n} conductors")
            return None
        factor = 1.0
        if code_units and own.units:
            factor = METRES[own.units] / METRES[code_units]
        elif code_name and not switch and bool(code_units) != bool(own.units):
            self.assumed.append(
                f"{element}: {'no units' if not own.units else 'units but a linecode without'}; its length is taken in"
                f" the units of linecode {code_name!r}, as OpenDSS does"
            )
        unit = own.units or code_units
        ends_read = [_bus(ends[k], own.n) for k in ("bus1", "bus2")]
        if not all(name for name, _ in ends_read):
            self._problem(element, "bus1 and bus2 must be given")
            return None
        return Line(
            element,
            (ends_read[0][0], ends_read[1][0]),
            (ends_read[0][1], ends_read[1][1]),
            z * (length * factor),
            length * METRES[unit] if unit else float("nan"),
            switch,
            closed,
            code_name,
            own.amps,
        )

    def _transformer(self, element: Element) -> Transformer | None:
        phases, closed, lead, xhl = 3, True, False, 7.0
        windings = 2
        w: list[dict[str, Any]] = [{"kv": 12.47, "kva": 1000.0, "tap": 1.0, "%r": 0.2, "conn": "wye", "bus": ""}]
        w.append(dict(w[0]))
        active = 0
        lists = {"buses": "bus", "conns": "conn", "kvs": "kv", "kvas": "kva", "taps": "tap", "%rs": "%r"}
        for name, value in element.given:
            if name == "phases":
                phases = int(value)
            elif name == "windings":
                windings = int(value)
            elif name == "wdg":
                active = int(value) - 1
            elif name == "xhl":
                xhl = float(value)
            elif name == "leadlag":
                lead = value.lower() in ("lead", "euro")
            elif name == "%loadloss":
                w[0]["%r"] = w[1]["%r"] = float(value) / 2
            elif name == "#open":
                closed = value == "no"
            elif name == "xfmrcode":
                self._problem(element, "xfmrcode is not supported: give its properties here")
                return None
            elif (name in lists or name in ("bus", "conn", "kv", "kva", "tap", "%r")) and windings == 2:
                one = lists.get(name, name)
                for i, text in enumerate(array(value) if name in lists else [value]):
                    place = i if name in lists else active
                    if place not in (0, 1):
                        self._problem(element, f"winding {place + 1} of {windings}")
                        return None
                    w[place][one] = text if one in ("bus", "conn") else float(text)
                    if one == "kva" and name == "kva" and place == 0:
                        w[1]["kva"] = w[0]["kva"]
        if windings != 2:
            self._problem(element, f"{windings} windings are not supported, only two")
            return None
        if not all(x["bus"] for x in w):
            self._problem(element, "both windings need a bus")
            return None
        conns = tuple("delta" if str(x["conn"]).lower()[:1] in ("d", "l") and x["conn"] != "ln" else "wye" for x in w)
        read = [_bus(x["bus"], phases, wye=c == "wye") for x, c in zip(w, conns, strict=True)]
        return Transformer(
            element,
            (read[0][0], read[1][0]),
            (read[0][1], read[1][1]),
            (conns[0], conns[1]),
            (w[0]["kv"], w[1]["kv"]),
            (w[0]["tap"], w[1]["tap"]),
            w[0]["kva"],
            w[0]["%r"] + w[1]["%r"] * w[0]["kva"] / w[1]["kva"],
            xhl,
            phases,
            lead,
            closed,
        )

    def _load(self, element: Element) -> Load | None:
        v: dict[str, str] = {"phases": "3", "kv": "12.47", "kw": "10", "pf": "0.88", "conn": "wye", "model": "1"}
        reactive = "pf"
        for name, value in element.given:
            v[name] = value
            if name in ("pf", "kvar"):
                reactive = name
            elif name == "kva":
                v["kw"] = repr(float(value) * abs(float(v["pf"])))
        phases, kw = int(v["phases"]), float(v["kw"])
        factor = float(v["pf"])
        if reactive == "kvar":
            kvar = float(v["kvar"])
            size = float(np.hypot(kw, kvar))
            factor = (abs(kw) / size if size else 1.0) * (-1.0 if kvar * kw < 0 else 1.0)
        delta = v["conn"].lower()[:1] == "d" or v["conn"].lower() == "ll"
        bus, nodes = _bus(v.get("bus1", ""), phases, wye=not delta)
        if not bus:
            self._problem(element, "bus1 must be given")
            return None
        return Load(element, bus, nodes, phases, delta, float(v["kv"]), kw, factor, v["model"])

    def _reactor(self, element: Element) -> None:
        v = {"phases": "3", "bus1": "", "bus2": "", "r": "0", "x": "0", **dict(element.given)}
        bus, nodes = _bus(v["bus1"], int(v["phases"]))
        _, other = _bus(v["bus2"], int(v["phases"])) if v["bus2"] else ("", (0,))
        if int(v["phases"]) != 1 or nodes[0] < 4 or other[0] != 0:
            self._problem(element, "unsupported element: a reactor other than one from a neutral to ground")
            return
        ohm = abs(complex(float(v["r"]), float(v["x"])))
        known = self.grounding.get(bus.lower())
        self.grounding[bus.lower()] = ohm if known is None else (ohm * known / (ohm + known) if ohm + known else 0.0)

    def _source(self, element: Element) -> dict[str, Any]:
        v = {"bus1": "sourcebus", "basekv": "115", "pu": "1", **dict(element.given)}
        return {
            "element": element,
            "bus": _bus(v["bus1"], 3)[0],
            "kv": float(v["basekv"]),
            "pu": float(v["pu"]),
            "ideal": v.get("model", "").lower() == "ideal",
        }


def _bus(text: str, n: int, *, wye: bool = False) -> tuple[str, tuple[int, ...]]:
    """Name and nodes of ``bus.1.2.3``; conductors without a node follow OpenDSS's default (1 .. n, neutral to 0)."""
    name, *nodes = text.strip().split(".")
    given = [int(x) for x in nodes]
    wanted = n + 1 if wye else n
    default = [*range(1, n + 1), 0]
    given += default[len(given) : wanted] if len(given) < n else [0] * (wanted - len(given))
    return name, tuple(given)


def _matrix(text: str, n: int) -> NDArray[np.float64] | None:
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
        out[i, : len(row)] = [float(x) for x in row]
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
    """
    if not neutrals:
        return z if len(phases) == len(z) else z[np.ix_(phases, phases)]
    order = phases + neutrals
    z, k = z[np.ix_(order, order)], len(phases)
    if how == "kron":
        return np.asarray(z[:k, :k] - z[:k, k:] @ np.linalg.solve(z[k:, k:], z[k:, :k]))
    return np.asarray(z[:k, :k] - z[:k, k:] - z[k:, :k] + z[k, k])
