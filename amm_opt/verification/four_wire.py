"""AC power flow of an OpenDSS file with all its wires, by OpenDSS itself (the ``opendss`` extra)."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import ComplexArray, FloatArray, IntArray
from amm_opt.errors import InputError, as_path, shorten
from amm_opt.fields import checked_kind
from amm_opt.importers.opendss import BEHIND, CLOSE, OPEN, Edit, Elements, Script, read_script
from amm_opt.io.output import native
from amm_opt.network import ACState, Feeder
from amm_opt.network.ac.ratings import RatedEnds
from amm_opt.network.feeder.phases import PHASES

NEUTRAL = 4
CLASSES = ("linecode", "line", "transformer", "reactor", "capacitor")
TOLERANCE, MAX_ITERATIONS = 1e-7, 200
IDEAL = "1e-8 1e-6"
"""Impedance in pu, at 100 MVA, of a source whose own is a line."""


class FourWireNetwork:
    """The circuit that OpenDSS makes of a file, for the nodes of a feeder that was imported from it.

    Lines keep their neutrals and capacitance, transformers their whole model; loads of the file are not taken: every
    node (bus and phase) gets a constant-power load of its own, against node 4 of its bus where there is one, else
    against ground. The source's voltage and the transformers' taps are the feeder's, as a scenario may have set them.

    Voltages are between phase and neutral. The power of a phase at the end of a branch is its current times that
    voltage, so that of a branch's ends differ by its losses, the neutral's included.

    Args:
        feeder: a feeder on named phases, such as ``from_opendss`` makes.
        path: the OpenDSS master file, or a folder with a ``Master.dss``.

    Attributes:
        n_nodes, bus, phase: as of ``ACNetwork``.
        statements: what OpenDSS was told of the circuit.

    Raises:
        InputError: where OpenDSSDirect is not installed, the file cannot be read, or it lacks elements of the feeder.
    """

    @native
    def __init__(self, feeder: Feeder, path: str | Path) -> None:
        try:
            import opendssdirect
        except ImportError as error:
            raise InputError("four wires need OpenDSSDirect: pip install 'amm-opt[opendss]'") from error
        checked_kind(feeder, Feeder, "feeder")
        if feeder.balanced:
            raise InputError("four wires need a feeder on named phases, not a balanced one")
        path = as_path(path, "file")
        script = read_script(path / "Master.dss" if path.is_dir() else path)
        if script.problems:
            raise InputError(script.problems, subject=str(path))
        self.feeder = feeder
        present = np.array([[p in phases for phases in feeder.branch_phases] for p in PHASES])
        self.phase, self.bus = np.nonzero(present)
        self.n_nodes = len(self.bus)
        self._ratings = RatedEnds.of(feeder, self.bus)
        self._dss = opendssdirect.NewContext()
        self.statements: list[str] = []
        self._dss.Basic.AllowForms(False)
        self._build(script)
        self._check(path)
        self._set_taps()
        self._dss.Solution.Solve()
        self._read_nodes()
        self._currents = self._current_map()
        self._loaded = np.zeros(self.n_nodes, dtype=bool)
        self._order: IntArray = np.zeros(0, dtype=np.intp)

    @native
    def fresh(self) -> FourWireNetwork:
        """The same circuit without any load, as if no power flow had been solved: the file is not read again."""
        import opendssdirect

        twin = copy(self)
        twin._dss, twin.statements = opendssdirect.NewContext(), []
        for statement in self.statements:
            twin._tell(statement)
        twin._set_taps()
        twin._dss.Solution.Solve()
        twin._loaded, twin._order = np.zeros_like(self._loaded), np.zeros(0, dtype=np.intp)
        return twin

    def flow(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
        """Power flow of many intervals, one after the other; those that OpenDSS does not solve are NaN.

        Args:
            p_kw, q_kvar: (T, n_nodes) net injections, positive into the network, or (n_nodes,) of one interval.
        """
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        if p.ndim == 1:
            return self.flow(p[None], q[None]).interval(0)
        self._make_loads(np.flatnonzero((p != 0).any(axis=0) | (q != 0).any(axis=0)))
        volts = np.array([self._solved(p[k], q[k]) for k in range(len(p))]).reshape(len(p), -1)
        to_neutral = volts[:, self._at] - np.where(self._neutral >= 0, volts[:, self._neutral], 0.0)
        base = self.feeder.vn_kv[self.bus] * 1000.0 / np.sqrt(3.0)
        v_pu = np.abs(to_neutral) / base
        sent_current, received_current = np.split(np.asarray((self._currents @ volts.T).T), 2, axis=1)
        upstream = np.where(self._upstream >= 0, to_neutral[:, self._upstream], 0.0)
        sent = upstream * sent_current.conj() / 1000.0
        received = -to_neutral * received_current.conj() / 1000.0
        v_sent = np.where(self._upstream >= 0, v_pu[:, self._upstream], v_pu)
        return ACState(self._ratings, v_pu, sent.real, sent.imag, received.real, received.imag, v_sent)

    def _build(self, script: Script) -> None:
        """The circuit, without loads, one statement for each element."""
        tell, elements = self._tell, Elements(script)
        if len(elements.sources) != 1:
            raise InputError(f"four wires need one source, not {len(elements.sources)}")
        (source,) = elements.sources
        frequency = script.option("defaultbasefrequency", "basefrequency", default="60")
        tell("clear")
        tell(f"set defaultbasefrequency={frequency}")
        head, own = self.feeder.bus_names[0], _assignments(source.element.given)
        if not head.startswith(BEHIND):
            tell(f"new circuit.feeder {own} pu={self.feeder.v_source_pu}")
        else:
            nodes = "".join(f".{n}" for n in source.nodes)
            r, x = (
                " | ".join(" ".join(map(str, row)) for row in part) for part in (source.z_ohm.real, source.z_ohm.imag)
            )
            tell(
                f"new circuit.feeder {own} pu={self.feeder.v_source_pu} bus1={head}{nodes} model=ideal"
                f" puzideal=[{IDEAL}]"
            )
            none = " | ".join(["0 " * len(source.nodes)] * len(source.nodes))
            tell(
                f"new line.{self.feeder.branch_names[1]} phases={len(source.nodes)} bus1={head}{nodes}"
                f" bus2={source.own_bus}{nodes} rmatrix=[{r}] xmatrix=[{x}] cmatrix=[{none}]"
            )
        known: set[tuple[str, str]] = set()
        for event in script.events:
            if isinstance(event, Edit) and event.element.enabled and event.element.kind in CLASSES:
                name = event.element.kind, event.element.name
                tell(f"{'edit' if name in known else 'new'} {'.'.join(name)} {_assignments(event.given)}")
                known.add(name)
        for branch in (*elements.lines, *elements.transformers):
            if not branch.closed:
                tell(f"disable {branch.element.kind}.{branch.element.name}")
        tell(f"set tolerance={TOLERANCE} maxiterations={MAX_ITERATIONS} controlmode=off")
        tell("set voltagebases=[" + " ".join(str(v) for v in np.unique(self.feeder.vn_kv)) + "]")
        tell("calcvoltagebases")

    def _tell(self, statement: str) -> None:
        self.statements.append(statement)
        self._dss.Text.Command(statement)

    def _element(self, branch: int) -> str:
        """OpenDSS's name of a branch; the importer puts the class before names that two classes share."""
        kind = "transformer" if self.feeder.branch_kind[branch] == "transformer" else "line"
        name = self.feeder.branch_names[branch].lower()
        return name if name.startswith(f"{kind}.") else f"{kind}.{name}"

    def _check(self, path: Path) -> None:
        buses = set(self._dss.Circuit.AllBusNames())
        elements = {name.lower() for name in self._dss.Circuit.AllElementNames()}
        lost = [b for b in self.feeder.bus_names if b.lower() not in buses]
        problems = [f"{path} has no bus {shorten(lost)}, which the feeder has"] if lost else []
        gone = [e for e in map(self._element, range(1, self.feeder.n_buses)) if e not in elements]
        problems += [f"{path} has no {shorten(gone)}, which the feeder has"] if gone else []
        if problems:
            raise InputError(problems, subject="four-wire power flow")

    def _set_taps(self) -> None:
        """Tap of the upstream winding so that the ratio is the feeder's."""
        transformers, feeder = self._dss.Transformers, self.feeder
        for b in range(1, feeder.n_buses):
            if feeder.branch_kind[b] == "transformer":
                transformers.Name(self._element(b).partition(".")[2])
                kv = []
                for winding in (1, 2):
                    transformers.Wdg(winding)
                    kv.append(transformers.kV())
                    transformers.Tap(1.0)
                up = self._upstream_end(self._element(b), b)
                ratio = feeder.tap[b] * feeder.vn_kv[feeder.parent[b]] / feeder.vn_kv[b]
                transformers.Wdg(up + 1)
                transformers.MaxTap(10.0)
                transformers.MinTap(0.1)
                transformers.Tap(float(ratio * kv[1 - up] / kv[up]))

    def _upstream_end(self, element: str, branch: int) -> int:
        """Which terminal of an element is at the parent's bus."""
        self._dss.Circuit.SetActiveElement(element)
        ends = [name.partition(".")[0].lower() for name in self._dss.CktElement.BusNames()]
        return ends.index(self.feeder.bus_names[self.feeder.parent[branch]].lower())

    def _read_nodes(self) -> None:
        """Places of phases and neutrals, and of each node's upstream node, among OpenDSS's voltages."""
        place = {name.lower(): i for i, name in enumerate(self._dss.Circuit.AllNodeNames())}
        names = [self.feeder.bus_names[b].lower() for b in self.bus]
        self._place = place
        self._at = np.array([place[f"{name}.{p + 1}"] for name, p in zip(names, self.phase, strict=True)])
        self._neutral = np.array([place.get(f"{name}.{NEUTRAL}", -1) for name in names])
        node = {(b, p): i for i, (b, p) in enumerate(zip(self.bus.tolist(), self.phase.tolist(), strict=True))}
        pairs = zip(self.feeder.parent[self.bus].tolist(), self.phase.tolist(), strict=True)
        self._upstream = np.array([node.get(pair, -1) for pair in pairs])

    def _current_map(self) -> sp.csr_array:
        """(2 n_nodes, voltages): currents in A into the branch of each node, at its upstream end and at the node."""
        rows: list[int] = []
        cols: list[int] = []
        data: list[complex] = []
        branch_nodes: dict[int, list[int]] = {}
        for i, b in enumerate(self.bus.tolist()):
            branch_nodes.setdefault(b, []).append(i)
        for b in range(1, self.feeder.n_buses):
            up = self._upstream_end(self._element(b), b)
            element = self._dss.CktElement
            conductors, nodes = element.NumConductors(), element.NodeOrder()
            flat = np.array(element.YPrim())
            y = (flat[::2] + 1j * flat[1::2]).reshape(len(nodes), len(nodes))
            buses = [name.partition(".")[0].lower() for name in element.BusNames()]
            at = [self._place.get(f"{buses[k // conductors]}.{node}", -1) for k, node in enumerate(nodes)]
            for i in branch_nodes[b]:
                for side, terminal in enumerate((up, 1 - up)):
                    own = nodes[terminal * conductors : (terminal + 1) * conductors]
                    row = y[terminal * conductors + own.index(self.phase[i] + 1)]
                    used = [k for k, place in enumerate(at) if place >= 0 and row[k] != 0]
                    rows += [side * self.n_nodes + i] * len(used)
                    cols += [at[k] for k in used]
                    data += row[used].tolist()
        shape = (2 * self.n_nodes, len(self._place))
        return sp.csr_array(sp.coo_array((data, (rows, cols)), shape=shape))

    @native
    def _make_loads(self, nodes: IntArray) -> None:
        """A load at each of these nodes that has none yet."""
        new = nodes[~self._loaded[nodes]]
        for i in new.tolist():
            bus = self.feeder.bus_names[self.bus[i]]
            against = NEUTRAL if self._neutral[i] >= 0 else 0
            kv = self.feeder.vn_kv[self.bus[i]] / np.sqrt(3.0)
            self._dss.Text.Command(
                f"new load.node{i} phases=1 conn=wye bus1={bus}.{self.phase[i] + 1}.{against} kv={kv} kw=0 kvar=0"
                " model=1 vminpu=0.01 vmaxpu=10"
            )
        self._order = np.append(self._order, new)
        self._loaded[new] = True

    @native
    def _solved(self, p: FloatArray, q: FloatArray) -> ComplexArray:
        """Voltages of all of OpenDSS's nodes, in V."""
        loads = self._dss.Loads
        more = loads.First()
        for i in self._order.tolist():
            assert more
            loads.kW(-p[i])
            loads.kvar(-q[i])
            more = loads.Next()
        self._dss.Solution.Solve()
        flat = np.array(self._dss.Circuit.AllBusVolts())
        volts = flat[::2] + 1j * flat[1::2]
        return volts if self._dss.Solution.Converged() else np.full(len(volts), np.nan + 0j)


def _assignments(given: list[tuple[str, str]]) -> str:
    pairs = [(name, value) for name, value in given if name not in (OPEN, CLOSE)]
    return " ".join(f"{name}=({value})" if set(" ,|") & set(value) else f"{name}={value}" for name, value in pairs)
