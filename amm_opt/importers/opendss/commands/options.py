"""Options that change what loads and generators draw and give, and those of other studies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amm_opt.importers.opendss.commands.clock import PEAK, YEARLY, Clock
from amm_opt.importers.opendss.dialect.script import Command, Script
from amm_opt.importers.opendss.dialect.text import number
from amm_opt.importers.opendss.elements.component import UnsupportedError
from amm_opt.importers.opendss.elements.loads import Load
from amm_opt.importers.opendss.lines.line import Line, earth_model
from amm_opt.importers.opendss.plants.plants import Generator

DEFAULT_GROWTH = 2.5
"""Of loads in percent a year, from the first year on."""
_FACTORS = {"allocationfactors": "allocationfactor", "cfactors": "cfactor"}


class Options:
    """The options as the statements so far leave them; what is wrong goes to ``problems``.

    Attributes:
        earth: model of lines that follow.
        clock: time of the file's own solves.
        assumed: remarks for the report.
    """

    def __init__(self, problems: list[str], assumed: list[str]) -> None:
        self.earth, self.clock = "deri", Clock()
        self.problems, self.assumed = problems, assumed
        self._multiplier = self._generation = 1.0
        self._year, self._growth = 0, DEFAULT_GROWTH

    def follow(self, command: Command, loads: Sequence[Load]) -> None:
        """A ``set`` or ``solve``; some change the loads that there are."""
        given = dict(command.given)
        if "earthmodel" in given:
            try:
                self.earth = earth_model(given["earthmodel"])
            except UnsupportedError as error:
                self.problems.append(f"{command.where}: set {error}")
        for name in ("year", "%growth", "loadmult", "genmult", *_FACTORS):
            if name in given:
                self._set(f"{command.where}: set {name}={given[name]}", name, given[name], loads)
        try:
            self.clock.follow(command.given, command.verb == "solve")
        except ValueError as error:
            self.problems.append(f"{command.where}: {command.verb}: cannot read a number: {error}")

    def _set(self, at: str, name: str, value: str, loads: Sequence[Load]) -> None:
        try:
            given = number(value)
        except ValueError as error:
            self.problems.append(f"{at}: {error}")
            return
        if name == "year":
            self._year = round(given)
        elif name == "%growth":
            self._growth = given
        elif name == "loadmult":
            self._multiplier = given
        elif name == "genmult":
            self._generation = given
        else:
            for load in loads:
                load.allocate(_FACTORS[name], given)

    def apply(self, script: Script, loads: Sequence[Load], lines: Iterable[Line], plants: Iterable[Generator]) -> None:
        """To all elements, once they are known."""
        if self._generation != 1:
            for generator in plants:
                generator.scale = self._generation
            self.assumed.append(f"set genmult={self._generation:g} multiplies the generators, but for fixed ones")
        if self._multiplier != 1:
            self._multiply(loads)
        self._grow(loads)
        self._studies(script, loads)
        lines = list(lines)
        if other := [x for x in lines if x.earth != "deri"]:
            self.problems += [
                f"{line.element}: spacing beside earthmodel={other[0].earth}: which model OpenDSS takes depends on"
                " other lines; give a geometry"
                for line in lines
                if line.spacing is not None
            ]

    def _multiply(self, loads: Sequence[Load]) -> None:
        said = f"set loadmult={self._multiplier:g}"
        if self.clock.mode == PEAK:
            self.assumed.append(f"{said} does not count in mode={PEAK}, as in OpenDSS")
            return
        spared = ("f",) if self.clock.mode == YEARLY else ("f", "e")
        for load in loads:
            load.scale = 1.0 if load.status[:1] in spared else self._multiplier
        exempt = "" if self.clock.mode == YEARLY else " and exempt"
        self.assumed.append(f"{said} multiplies the loads, but for fixed{exempt} ones")

    def _grow(self, loads: Sequence[Load]) -> None:
        """Growth of the loads by ``set year``, fixed ones included; year 0 is before all growth."""
        if abs(self._growth) > 1000 or not 0 <= self._year <= 1000:
            self.problems.append(f"set year={self._year} %growth={self._growth:g}: at most 1000 each")
            return
        factor = (1.0 + self._growth / 100.0) ** (self._year - 1) if self._year else 1.0
        for load in loads if self._year else ():
            load.scale *= factor
            if any(name == "growth" for name, _ in load.element.given):
                self.problems.append(f"{load.element}: unsupported: growth in year {self._year} by a shape of its own")
        if factor != 1:
            self.assumed.append(
                f"set year={self._year} multiplies all loads by {factor:.6g}: {self._growth:g} % of growth a year"
            )

    def _studies(self, script: Script, loads: Sequence[Load]) -> None:
        """Options by which OpenDSS solves another network than that of the loads' power on all phases."""
        model, circuit, mode = script.option("loadmodel").lower(), script.option("cktmodel").lower(), self.clock.mode
        if model and model[0] != "p":
            self.problems.append(f"set loadmodel={model}: unsupported: all loads as admittances; give model=2 of each")
        elif mode == "direct":
            self.problems.append(f"set mode={mode}: unsupported: all loads as admittances; give model=2 of each")
        if mode == "autoadd":
            self.problems.append(f"set mode={mode}: unsupported: it adds generators or capacitors where they help")
        if circuit.startswith("p") and any(x.phases != 3 for x in loads):
            self.problems.append(f"set cktmodel={circuit}: unsupported: a network of the positive sequence alone")
