"""Every element of a script that a network is made of, as the statements leave it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from typing import TypeVar

import numpy as np

from amm_opt.importers.opendss.commands.clock import FOLLOWS, SNAP
from amm_opt.importers.opendss.commands.options import Options
from amm_opt.importers.opendss.dialect.classes import REFERENCES
from amm_opt.importers.opendss.dialect.script import CLOSE, LIKE, OPEN, Command, Edit, Element, Script, Where
from amm_opt.importers.opendss.dialect.text import array, number, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError
from amm_opt.importers.opendss.elements.controls import Control, Protection
from amm_opt.importers.opendss.elements.loads import Capacitor, Load
from amm_opt.importers.opendss.elements.reactors import Reactor
from amm_opt.importers.opendss.elements.regulators import Automatic, CapControl, RegControl
from amm_opt.importers.opendss.elements.sources import Source
from amm_opt.importers.opendss.elements.transformers import Transformer, XfmrCode
from amm_opt.importers.opendss.lines.conductors import LineCode
from amm_opt.importers.opendss.lines.geometry import LineGeometry, LineSpacing
from amm_opt.importers.opendss.lines.line import Line
from amm_opt.importers.opendss.lines.wires import WireData
from amm_opt.importers.opendss.plants.plants import SHAPES, Generator, Plant, PVSystem, Storage
from amm_opt.importers.opendss.plants.shapes import DEFAULT, Curve, LoadShape, Shape

KINDS: dict[str, type[Component]] = {
    "vsource": Source,
    "linecode": LineCode,
    "line": Line,
    **dict.fromkeys(("wiredata", "cndata", "tsdata"), WireData),
    "linespacing": LineSpacing,
    "linegeometry": LineGeometry,
    "transformer": Transformer,
    "xfmrcode": XfmrCode,
    "load": Load,
    "capacitor": Capacitor,
    "reactor": Reactor,
    "regcontrol": RegControl,
    "capcontrol": CapControl,
    "swtcontrol": Control,
    "fuse": Protection,
    "recloser": Protection,
    "relay": Protection,
    "loadshape": LoadShape,
    "tshape": Shape,
    "xycurve": Curve,
    "pvsystem": PVSystem,
    "generator": Generator,
    "storage": Storage,
}
DEFAULT_FREQUENCY = 60.0
_P = TypeVar("_P", bound=Component)


class _BrokenError(Exception):
    """What an element names has problems itself."""


class Elements:
    """The elements of a script, by class; what is wrong goes to ``problems`` with file and line.

    Args:
        shapes: which load shapes count, as a mode; by default those of the file's own mode.

    Attributes:
        lines, transformers, loads, capacitors, reactors, plants, controls, automatic, sources: those in service,
            complete and right; reactors are shunts, as those in series are lines.
        grounding: ohm from the neutral to ground by bus, in lower case.
        grounded: the same by bus and node.
        ends: buses of all lines and transformers, also of those with problems, in lower case.
        broken: whether a line or transformer is missing because of its problems.
        frequency: of the circuit, in Hz.
        disabled, opened: elements out of service, and loads, capacitors and reactors that a command opened.
        unread: how often a property was given that is not used, by class and property.
        assumed: remarks for the report.
        cut: sources that the caller left out, as a sentence.
        options: what ``set`` and ``solve`` say; followed: which load shapes count, the first that a load or plant has.
    """

    def __init__(self, script: Script, shapes: str | None = None) -> None:
        self.problems = list(script.problems)
        self.assumed: list[str] = []
        self.unread: Counter[tuple[str, str]] = Counter()
        self.disabled = [e for e in script.elements.values() if not e.enabled]
        self._script = script
        self.options = Options(self.problems, self.assumed)
        self._unreadable: dict[tuple[str, str], str] = {}
        self._components: dict[tuple[str, str], Component] = {
            ("loadshape", "default"): LoadShape(
                Element("loadshape", "default", Where("OpenDSS", 0)), points=len(DEFAULT), values=np.array(DEFAULT)
            )
        }
        self._bad: set[tuple[str, str]] = set()
        self.frequency = self._frequency()
        for event in script.events:
            if isinstance(event, Edit):
                self._edit(event)
            else:
                self._command(event)
        if self._controls_act():
            for control in self._of(Control):
                control.act()
        self.options.apply(script, self._of(Load), self._of(Line), self._of(Generator))
        self.followed = FOLLOWS.get(shapes or self.options.clock.mode, FOLLOWS[SNAP])
        for plant in self._of(Plant):
            plant.followed = self.followed
        for key, component in self._components.items():
            if component.element.enabled and key not in self._bad and not isinstance(component, LineCode):
                self._guarded(component.element, component.finish)
            self.assumed += dict.fromkeys(component.remarks)
        self._sort()
        self._say_unreadable()

    def _of(self, kind: type[_P]) -> list[_P]:
        return [component for component in self._components.values() if isinstance(component, kind)]

    def _usable(self, kind: type[_P]) -> list[_P]:
        """Enabled, and without problems."""
        return [
            x
            for key, x in self._components.items()
            if isinstance(x, kind) and x.element.enabled and key not in self._bad
        ]

    def _sort(self) -> None:
        self.sources = [x for x in self._of(Source) if x.element.enabled]
        self.cut = ""
        self.lines, self.transformers = self._usable(Line), self._usable(Transformer)
        self.controls, self.automatic = self._usable(Control), self._usable(Automatic)
        loads, capacitors, reactors = self._usable(Load), self._usable(Capacitor), self._usable(Reactor)
        plants = self._usable(Plant)
        self.lines += [x.line() for x in reactors if x.use == "series"]
        reactors = [x for x in reactors if x.use != "series"]
        self.opened = [x.element for x in (*loads, *capacitors, *reactors, *plants) if not x.closed]
        self.plants = [x for x in plants if x.closed]
        self.loads, self.capacitors = [x for x in loads if x.closed], [x for x in capacitors if x.closed]
        self.grounding: dict[str, float] = {}
        self.grounded: dict[tuple[str, int], float] = {}
        self.reactors = [x for x in reactors if x.closed and x.use == "shunt"]
        for reactor in reactors:
            if reactor.closed and reactor.use == "neutral":
                self._ground(reactor.bus, reactor.nodes[0], reactor.ohm)
        for transformer in self.transformers:
            for end, winding in enumerate(transformer.windings):
                grounded = winding.neutral_ohm is not None and winding.neutral_ohm.real >= 0
                if grounded and transformer.conns[end] == "wye" and transformer.nodes[end][-1] > 3:
                    self._ground(transformer.buses[end], transformer.nodes[end][-1], abs(winding.neutral_ohm or 0.0))
        joining: list[Line | Transformer | Reactor] = [*self._of(Line), *self._of(Transformer), *self._of(Reactor)]
        joining = [x for x in joining if x.element.enabled]
        right = len(self.lines) + len(self.transformers) + len(reactors)
        self.broken = len(joining) > right or bool(self._script.unknown_buses)
        self.ends = {bus.lower() for x in joining for bus in _named_ends(x)} | self._script.unknown_buses

    def _say_unreadable(self) -> None:
        """Load shapes and curves that cannot be read are problems where something follows them."""
        used: dict[tuple[str, str], Element] = {}
        for load in self.loads:
            used.setdefault(("loadshape", load.shape(self.followed)), load.element)
        for plant in self.plants:
            for key in plant.follows:
                used.setdefault(key, plant.element)
        for key, said in self._unreadable.items():
            if key in used:
                self.problems.append(f"{said}; {used[key].kind} {used[key].name!r} follows it")
            else:
                self.assumed.append(f"{said}; nothing follows it")

    def shape_of(self, load: Load) -> LoadShape | None:
        """Load shape that a load follows; None where it is constant."""
        shape = self._components.get(("loadshape", load.shape(self.followed)))
        return shape if isinstance(shape, LoadShape) else None

    def is_joined(self, x: Load | Capacitor | Reactor | Plant, buses: Container[str]) -> bool:
        """Whether its bus is one of these, in lower case; a problem where not even anything broken ends there."""
        if x.bus.lower() in buses:
            return True
        if x.bus.lower() not in self.ends:
            self.problems.append(f"{x.element}: unknown bus {x.bus!r}: no line or transformer ends there")
        return False

    def _ground(self, bus: str, node: int, ohm: float) -> None:
        place = (bus.lower(), node)
        self.grounding[place[0]] = _beside(self.grounding.get(place[0]), ohm)
        self.grounded[place] = _beside(self.grounded.get(place), ohm)

    def _guarded(self, element: Element, act: Callable[[], object]) -> None:
        try:
            act()
        except ArithmeticError:
            self._wrong(element, UnsupportedError("its values give no finite impedance or power"), element.where)
        except (UnsupportedError, ValueError) as error:
            self._wrong(element, error, element.where)

    def _wrong(self, element: Element, error: Exception, where: Where) -> None:
        said = str(error) if isinstance(error, UnsupportedError) else f"cannot read a number: {error}"
        said = f"{where}: {element.kind} {element.name!r}: {said}"
        if isinstance(self._components[element.kind, element.name], Shape | Curve):
            self._unreadable.setdefault((element.kind, element.name), said)
            return
        self.problems.append(said)
        self._bad.add((element.kind, element.name))

    def _edit(self, edit: Edit) -> None:
        element = edit.element
        key = (element.kind, element.name)
        if key not in self._components:
            self._components[key] = made = KINDS[element.kind](element, self.frequency)
            if isinstance(made, Line):
                made.earth = self.options.earth
            self._components[key].find = self._found
        component = self._components[key]
        if isinstance(component, Shape | Curve):
            component.folder = edit.folder
        if isinstance(component, LineCode):
            component.begin_statement()
        for name, value in edit.given:
            try:
                self._set(component, name, value)
            except _BrokenError:
                self._bad.add(key)
            except (UnsupportedError, ValueError) as error:
                self._wrong(element, error, edit.where)
        try:
            component.end_of_statement()
        except (UnsupportedError, ValueError) as error:
            self._wrong(element, error, edit.where)

    def _set(self, component: Component, name: str, value: str) -> None:
        if name in (OPEN, CLOSE):
            self._switch(component, name, whole(value))
        elif name == LIKE:
            component.alike(self._code(component.element.kind, value))
        elif (kind := REFERENCES.get((component.element.kind, name))) is not None:
            component.refer(name, [self._code(kind, x) for x in (array(value) if name.endswith("s") else [value])])
        elif isinstance(component, Load) and name in SHAPES:
            shape = self._found(f"loadshape.{value}")
            if not component.set(name, value):
                self.unread[component.element.kind, name] += 1
            if isinstance(shape, LoadShape) and shape.actual and len(shape.values):
                component.actual(*shape.highest)
        elif name == "basefreq" and not isinstance(component, Line | LineCode):
            if abs(number(value) - self.frequency) > 1e-6 and isinstance(component, Transformer | Source):
                raise UnsupportedError(f"basefreq = {value}, but the circuit is at {self.frequency:g} Hz")
        elif not component.set(name, value):
            self.unread[component.element.kind, name] += 1

    def _code(self, kind: str, name: str) -> Component:
        """What an element names, as the statements so far leave it."""
        key = (kind, name.lower())
        if key not in self._components:
            raise UnsupportedError(f"unknown {kind} {name!r}; it must be defined before")
        if key in self._bad:
            raise _BrokenError
        return self._components[key]

    def _switch(self, component: Component, how: str, terminal: int) -> None:
        if isinstance(component, Source):
            raise UnsupportedError("opening the source is not supported")
        if how == OPEN:
            component.open_terminals.add(terminal)
        else:
            component.open_terminals.discard(terminal)

    def _found(self, full: str) -> Component:
        kind, _, name = full.lower().partition(".")
        component = self._components.get((kind, name))
        if component is None:
            raise UnsupportedError(f"unknown element {full!r}; it must be defined before")
        return component

    def _command(self, command: Command) -> None:
        given = dict(command.given)
        solves = command.verb == "solve"
        resets = command.verb == "reset" and all(v.lower()[:1] == "c" for v in given.values())
        if resets or "mode" in given:
            for control in self._of(Control):
                control.reset()
        self.options.follow(command, self._of(Load))
        if solves and self._controls_act():
            for control in self._of(Control):
                control.act()

    def _controls_act(self) -> bool:
        return self._script.option("controlmode").lower() not in ("off", "of", "-1")

    def _frequency(self) -> float:
        """That of the circuit when it was made; what is said later must not differ.

        A file that sets the default only after it has made its circuit counts on an engine that starts with that
        default: it is followed.
        """
        options = self._script.options
        later = [n for n in ("defaultbasefrequency", "basefrequency", "frequency") if options.get(n)]
        values = {"defaultbasefrequency": self._script.base_frequency or f"{DEFAULT_FREQUENCY:g}"}
        if not self._script.base_frequency and later and later[0] != "frequency":
            values = {later[0]: options[later[0]]}
            self.assumed.append(
                f"the circuit is at {values[later[0]]} Hz, although the file says so only after making it"
            )
        values |= {f"{name} (later)": options[name] for name in later}
        read = []
        for name, text in values.items():
            try:
                read.append(number(text))
            except ValueError as error:
                self.problems.append(f"set {name.split()[0]}: {error}")
                return DEFAULT_FREQUENCY
            if not read[-1] > 0:
                self.problems.append(f"set {name.split()[0]}={read[-1]:g} must be positive")
                return DEFAULT_FREQUENCY
            if abs(read[-1] - read[0]) > 1e-6:
                self.problems.append(
                    f"set {name.split()[0]}={text}, but the circuit was made at {read[0]:g} Hz: set"
                    " defaultbasefrequency before it"
                )
        return read[0]


def _beside(known: float | None, ohm: float) -> float:
    """Resistances in parallel."""
    return ohm if known is None else (ohm * known / (ohm + known) if ohm + known else 0.0)


def _named_ends(component: Line | Transformer | Reactor) -> Iterable[str]:
    """Buses that an element names, whatever else is wrong with it; of a reactor only one in series."""
    if isinstance(component, Reactor) and component.use != "series":
        return
    named = (w.bus for w in component.windings) if isinstance(component, Transformer) else component.ends.values()
    for text in named:
        if text:
            yield text.strip().partition(".")[0]
