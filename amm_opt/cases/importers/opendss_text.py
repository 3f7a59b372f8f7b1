"""Reading OpenDSS text: commands, elements and their properties, without their meaning.

The rules follow the OpenDSS manual (R. C. Dugan, D. Montenegro, "The Open Distribution System Simulator Reference
Guide", EPRI): commands and names do not depend on case; properties may be abbreviated to any prefix, the first that
matches in the class's order counts; a value without a name belongs to the property after the last one; ``~`` and
``more`` continue an element; ``!`` and ``//`` start comments, ``/* */`` encloses blocks of whole lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from amm_opt.errors import InputError

_INHERITED = "normamps emergamps faultrate pctperm repair basefreq enabled like"
_CLASSES = {
    "vsource": "bus1 basekv pu angle frequency phases mvasc3 mvasc1 x1r1 x0r0 isc3 isc1 r1 x1 r0 x0 scantype sequence"
    " bus2 z1 z0 z2 puz1 puz0 puz2 basemva yearly daily duty model puzideal spectrum basefreq enabled like",
    "linecode": "nphases r1 x1 r0 x0 c1 c0 units rmatrix xmatrix cmatrix basefreq normamps emergamps faultrate pctperm"
    " repair kron rg xg rho neutral b1 b0 seasons ratings linetype like",
    "line": "bus1 bus2 linecode length phases r1 x1 r0 x0 c1 c0 rmatrix xmatrix cmatrix switch rg xg rho geometry units"
    f" spacing wires earthmodel cncables tscables b1 b0 seasons ratings linetype {_INHERITED}",
    "transformer": "phases windings wdg bus conn kv kva tap %r rneut xneut buses conns kvs kvas taps xhl xht xlt"
    " xscarray thermal n m flrise hsrise %loadloss %noloadloss normhkva emerghkva sub maxtap mintap numtaps subname"
    f" %imag ppm_antifloat %rs bank xfmrcode xrconst x12 x13 x23 leadlag wdgcurrents core rdcohms seasons ratings"
    f" {_INHERITED}",
    "load": "phases bus1 kv kw pf model yearly daily duty growth conn kvar rneut xneut status class vminpu vmaxpu"
    " vminnorm vminemerg xfkva allocationfactor kva %mean %stddev cvrwatts cvrvars kwh kwhdays cfactor cvrcurve numcust"
    " zipv %seriesrl relweight vlowpu puxharm xrharm spectrum basefreq enabled like",
    "reactor": "bus1 bus2 phases kvar kv conn rmatrix xmatrix parallel r x rp z1 z2 z0 z rcurve lcurve lmh"
    f" {_INHERITED}",
}
PROPERTIES: dict[str, tuple[str, ...]] = {kind: tuple(text.split()) for kind, text in _CLASSES.items()}
"""Properties of every class that is read, in OpenDSS's order."""

_IGNORED = (
    "monitor energymeter loadshape tshape priceshape xycurve spectrum growthshape tcc_curve sensor relay recloser fuse"
    " swtcontrol cnts wiredata cndata tsdata linespacing linegeometry xfmrcode"
)
HARMLESS = frozenset(_IGNORED.split())
"""Classes that carry no current by themselves: left out and reported. A line or transformer that needs one says so."""

_VERBS = (
    "new edit more m ~ select save show solve enable disable plot reset compile set dump open close redirect help quit"
    " next panel sample clear about calcvoltagebases setkvbase buildy get init export fileedit voltages currents powers"
    " losses allocateloads summary buscoords makebuslist cd visualize closedi interpolate batchedit clearall"
)
_COMMANDS = _VERBS.split()
_OPENING = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}


class Where(NamedTuple):
    """File and line of a statement."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Element:
    """One element: its assignments (property, value) in the order in which they were made."""

    kind: str
    name: str
    where: Where
    given: list[tuple[str, str]] = field(default_factory=list)
    enabled: bool = True
    last: int = -1

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.name!r}"


@dataclass
class Script:
    """What the files say, in order.

    Attributes:
        elements: by (class, name); edits are already part of them.
        options: ``set`` options, the last value of each.
        left_out: statements and elements without meaning for a network, by name, with how often they occur.
        problems: everything that could not be read, with file and line.
        remarks: what a user should know although it is no error.
        commented: names of commented-out elements, by class.
        files: every file read.
    """

    elements: dict[tuple[str, str], Element] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    commented: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Element]:
        """Enabled elements of a class."""
        return [e for (k, _), e in self.elements.items() if k == kind and e.enabled]


def read_script(path: Path) -> Script:
    """Read a file and everything it redirects to.

    Raises:
        InputError: where the file does not exist. What is wrong inside is in ``problems``.
    """
    if not path.is_file():
        raise InputError(f"{path} not found")
    reader = _Reader(path.resolve().parent)
    reader.file(path.resolve(), None)
    return reader.script


def array(text: str) -> list[str]:
    """Elements of ``[a, b c]``."""
    return text.strip("()[]{}\"' ").replace(",", " ").split()


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every line that is not empty, without comments."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        start = line.lstrip()
        if inside or start.startswith("/*"):
            inside = "*/" not in line
            continue
        code = _without_comment(start).strip()
        if code:
            yield number, code


def _without_comment(line: str) -> str:
    if "!" not in line and "//" not in line:
        return line
    closing = ""
    for i, c in enumerate(line):
        if closing:
            closing = "" if c == closing else closing
        elif c in _OPENING:
            closing = _OPENING[c]
        elif c == "!" or line.startswith("//", i):
            return line[:i]
    return line


_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[^\s=,()\[\]{}"']+)\s*=\s*)?"""
    r"""(?P<value>\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,=()\[\]{}"']+)\s*,?"""
)


def tokens(text: str) -> list[tuple[str, str]]:
    """(name or "", value) of every parameter; quotes and brackets are taken off.

    Raises:
        ValueError: with the part of the text that cannot be read.
    """
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(text[at:].strip())
        value = match["value"]
        if value[0] in _OPENING:
            value = value[1:-1].strip()
        found.append(((match["name"] or "").lower(), value))
        at = match.end()
    return found


class _Reader:
    def __init__(self, root: Path) -> None:
        self.script = Script()
        self._root = root
        self._active: Element | None = None
        self._open_files: list[Path] = []

    def file(self, path: Path, where: Where | None) -> None:
        if path in self._open_files:
            self._problem(where, f"{path.name} redirects to itself")
            return
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            self._problem(where, f"file {str(path)!r} not found")
            return
        shown = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)
        self.script.files.append(shown)
        self._open_files.append(path)
        self._comments(text)
        for number, code in statements(text):
            at = Where(shown, number)
            try:
                self._statement(code, at, path.parent)
            except ValueError as error:
                self._problem(at, f"cannot read {str(error)!r}")
        self._open_files.pop()

    def _problem(self, where: Where | None, text: str) -> None:
        self.script.problems.append(f"{where}: {text}" if where else text)

    def _comments(self, text: str) -> None:
        for kind, name in re.findall(r"^\s*!\s*new\s+([a-z]+)\.(\S+)", text, flags=re.IGNORECASE | re.MULTILINE):
            self.script.commented.setdefault(kind.lower(), []).append(name)

    def _leave_out(self, what: str) -> None:
        self.script.left_out[what] = self.script.left_out.get(what, 0) + 1

    def _statement(self, code: str, where: Where, folder: Path) -> None:
        if code[0] == "~":
            self._assign(self._active, tokens(code[1:]), where)
            return
        word, rest = ("", code) if re.match(r"\S+\s*=", code) else (*code.split(None, 1), "")[:2]
        verb = next((c for c in _COMMANDS if word and c.startswith(word.lower())), "")
        if verb in ("redirect", "compile"):
            self._redirect(rest, where, folder)
        elif verb in ("new", "edit"):
            self._element(verb, rest, where)
        elif verb in ("more", "m"):
            self._assign(self._active, tokens(rest), where)
        elif verb == "select":
            self._active = self._find(rest.split()[0], where)
        elif verb in ("enable", "disable"):
            for element in self._matching(rest.strip(), where):
                element.enabled = verb == "enable"
        elif verb in ("open", "close"):
            self._switch(verb, tokens(rest), where)
        elif verb == "batchedit":
            self._batch(rest, where)
        elif verb == "set":
            self.script.options.update({name: value for name, value in tokens(rest) if name})
        elif verb in ("clear", "clearall"):
            self.script.elements.clear()
            self._active = None
        elif verb:
            self._leave_out(f"command {verb}")
        else:
            self._property(code, where)

    def _redirect(self, rest: str, where: Where, folder: Path) -> None:
        name = rest.strip().strip("\"'()[]{}").replace("\\", "/")
        if not name:
            self._problem(where, "redirect without a file")
            return
        self.file((folder / name).resolve(), where)

    def _element(self, verb: str, rest: str, where: Where) -> None:
        parts = tokens(rest)
        if not parts:
            self._problem(where, f"{verb} without an element")
            return
        (label, full), parts = parts[0], parts[1:]
        if label not in ("", "object"):
            self._problem(where, f"{verb} needs class.name first, not {label}={full}")
            return
        kind, _, name = full.lower().partition(".")
        if kind == "circuit":
            kind, name = "vsource", "source"
        self._active = None
        if kind not in PROPERTIES:
            self._leave_out(kind)
            if kind not in HARMLESS:
                self._problem(
                    where, f"unsupported element {full!r}; supported classes: circuit, {', '.join(sorted(PROPERTIES))}"
                )
            return
        known = self.script.elements.get((kind, name))
        if verb == "edit" and known is None:
            self._problem(where, f"edit of an unknown {kind} {name!r}")
            return
        if verb == "new" and known is not None:
            if kind != "linecode":
                self._problem(where, f"{kind} {name!r} is defined again; first at {known.where}")
                return
            self.script.remarks.append(f"{where}: linecode {name!r} is defined again; the later values count")
            known.where = where
        element = known or Element(kind, name, where)
        element.last = -1
        self.script.elements[kind, name] = self._active = element
        self._assign(element, parts, where)

    def _assign(self, element: Element | None, parts: list[tuple[str, str]], where: Where) -> None:
        if element is None:
            return
        names = PROPERTIES[element.kind]
        for label, value in parts:
            if label:
                place = next((i for i, n in enumerate(names) if n == label), None)
                if place is None:
                    place = next((i for i, n in enumerate(names) if n.startswith(label)), None)
            else:
                place = element.last + 1 if element.last + 1 < len(names) else None
            if place is None:
                self._problem(where, f"{element.kind} {element.name!r}: unknown property {label or value!r}")
                continue
            element.last = place
            self._set(element, names[place], value, where)

    def _set(self, element: Element, name: str, value: str, where: Where) -> None:
        if name == "enabled":
            element.enabled = is_yes(value)
        elif name == "like":
            model = self.script.elements.get((element.kind, value.lower()))
            if model is None:
                self._problem(where, f"{element.kind} {element.name!r}: like={value} names an unknown {element.kind}")
            else:
                element.given.extend(model.given)
        else:
            element.given.append((name, value))

    def _find(self, full: str, where: Where) -> Element | None:
        kind, _, name = full.lower().strip("\"'").partition(".")
        element = self.script.elements.get((kind, name))
        if element is None and kind in PROPERTIES:
            self._problem(where, f"unknown element {full!r}")
        return element

    def _matching(self, full: str, where: Where) -> list[Element]:
        kind, _, pattern = full.lower().strip("\"'").partition(".")
        if kind not in PROPERTIES:
            return []
        found = [e for (k, n), e in self.script.elements.items() if k == kind and fnmatchcase(n, pattern)]
        if not found:
            self._problem(where, f"no element matches {full!r}")
        return found

    def _switch(self, verb: str, parts: list[tuple[str, str]], where: Where) -> None:
        for element in self._matching(parts[0][1], where) if parts else []:
            if len(parts) > 2 and parts[2][1] != "0":
                self._problem(where, f"{verb} of single conductors of {element.kind} {element.name!r} is not supported")
            element.given.append(("#open", "yes" if verb == "open" else "no"))

    def _batch(self, rest: str, where: Where) -> None:
        full, changes = (*rest.split(None, 1), "", "")[:2]
        kind, _, pattern = full.lower().partition(".")
        if kind not in PROPERTIES:
            self._leave_out(f"command batchedit {kind}")
            return
        for (k, name), element in self.script.elements.items():
            if k == kind and re.search(pattern, name):
                element.last = -1
                self._assign(element, tokens(changes), where)

    def _property(self, code: str, where: Where) -> None:
        """``class.name.property = value``."""
        (label, value), *more = tokens(code)
        kind, _, rest = label.partition(".")
        name, _, prop = rest.rpartition(".")
        if not label or not name:
            self._problem(where, f"unknown command {code.split()[0]!r}")
            return
        if kind not in PROPERTIES:
            self._leave_out(f"change of {kind}")
            return
        self._active = self._find(f"{kind}.{name}", where)
        self._assign(self._active, [(prop, value), *more], where)


def is_yes(value: str) -> bool:
    """Whether OpenDSS reads a value as yes."""
    return value[:1].lower() in ("y", "t")
