"""Reading OpenDSS scripts: commands, elements and their properties in order, without their meaning.

The rules follow the OpenDSS manual (R. C. Dugan, D. Montenegro, "The Open Distribution System Simulator Reference
Guide", EPRI): commands and names do not depend on case; properties may be abbreviated to any prefix, the first that
matches in the class's order counts; a value without a name belongs to the property after the last one; ``~`` and
``more`` continue an element; ``!`` and ``//`` start comments, ``/* */`` encloses blocks of whole lines.
"""

from __future__ import annotations

import re
from pathlib import Path

from amm_opt.errors import InputError
from amm_opt.importers.opendss.dialect.classes import (
    CHANGING,
    COMMANDS,
    HARMLESS,
    LIKE_FIRST,
    OPTIONS,
    PARTLY_LIKE,
    PLACES,
    PROPERTIES,
    REPLACED,
    SCHEDULING,
    STATEMENTS_LIKE,
)
from amm_opt.importers.opendss.dialect.paths import found, no_file
from amm_opt.importers.opendss.dialect.script import CLOSE, LIKE, OPEN, Command, Edit, Element, Script, Where
from amm_opt.importers.opendss.dialect.text import array, commented_out, is_yes, statements, tokens

MAX_DEPTH = 50  # of redirects


def read_script(path: Path) -> Script:
    """Read a file and everything it redirects to.

    Raises:
        InputError: where the file does not exist or is no regular file. What is wrong inside is in ``problems``.
    """
    if said := no_file(path):
        raise InputError(said)
    reader = _Reader(path.resolve().parent)
    reader.file(path.resolve(), None)
    return reader.script


class _Reader:
    def __init__(self, root: Path) -> None:
        self.script = Script()
        self._root = root
        self._active: Element | None = None
        self._alike: Element | None = None
        self._open_files: list[Path] = []
        self._folder = root

    def file(self, path: Path, where: Where | None) -> None:
        """Read a file; paths inside are relative to its folder."""
        if path in self._open_files:
            self._problem(where, f"{path.name} redirects to itself")
            return
        if len(self._open_files) >= MAX_DEPTH:
            self._problem(where, f"redirects are nested more than {MAX_DEPTH} deep")
            return
        if said := no_file(path):
            self._problem(where, f"file {said}")
            return
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            self._problem(where, f"file {str(path)!r} cannot be read: {error.strerror}")
            return
        shown = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)
        self.script.files.append(shown)
        self._open_files.append(path)
        for kind, name in commented_out(text):
            self.script.commented.setdefault(kind, []).append(name)
        before, self._folder = self._folder, path.parent
        for number, code in statements(text):
            at = Where(shown, number)
            try:
                self._statement(code, at)
            except ValueError as error:
                self._problem(at, f"cannot read {str(error)!r}")
        self._open_files.pop()
        self._folder = before

    def _problem(self, where: Where | None, text: str) -> None:
        self.script.problems.append(f"{where}: {text}" if where else text)

    def _leave_out(self, what: str) -> None:
        self.script.left_out[what] = self.script.left_out.get(what, 0) + 1

    def _statement(self, code: str, where: Where) -> None:
        if code[0] == "~":
            self._more(code[1:], where)
            return
        word, rest = ("", code) if re.match(r"\S+\s*=", code) else (*code.split(None, 1), "")[:2]
        low = word.lower()
        verb = low if low in COMMANDS else next((c for c in COMMANDS if word and c.startswith(low)), "")
        if verb in ("redirect", "compile"):
            if (path := self._path(rest, where)) is not None:
                self.file(path, where)
                if verb == "compile" and path.is_file():
                    self._folder = path.parent
        elif verb == "cd":
            self._change_folder(rest, where)
        elif verb in ("new", "edit"):
            self._element(verb, rest, where)
        elif verb in ("more", "m"):
            self._more(rest, where)
        elif verb == "select":
            if rest.split() and "." not in rest.split()[0]:
                self._problem(where, f"select needs class.name, not {rest.split()[0]!r}")
            self._select(rest, where)
        elif verb in ("enable", "disable"):
            for element in self._matching(rest.strip(), where, every=True):
                element.enabled = verb == "enable"
        elif verb in ("open", "close"):
            self._switch(verb, tokens(rest), where)
        elif verb == "batchedit":
            self._batch(rest, where)
        elif verb == "set":
            self._set_options(verb, tokens(rest), where)
        elif verb in ("solve", "reset"):
            self._leave_out(f"command {verb}")
            self._set_options(verb, tokens(rest), where)
        elif verb in ("clear", "clearall"):
            self._clear()
        elif verb in CHANGING:
            self._problem(where, f"unsupported command {verb!r}: it changes elements in ways that are not followed")
        elif verb:
            self._leave_out(f"command {verb}")
        else:
            self._property(code, where)

    def _more(self, rest: str, where: Where) -> None:
        """More of the active element."""
        if self._active is not None and self._active is self._alike:
            element = self._active
            self._problem(
                where,
                f"{element.kind} {element.name!r}: what follows like= on further lines changes the model in OpenDSS,"
                f" not {element.name!r}; give it on the same line, or by 'edit {element.kind}.{element.name}'",
            )
        self._assign(self._active, tokens(rest), where)

    def _clear(self) -> None:
        """A new beginning: what was read before counts no more, its problems included."""
        old, self.script = self.script, Script()
        self.script.files, self.script.options = old.files, old.options
        self.script.commented = old.commented
        self._active = None

    def _path(self, rest: str, where: Where) -> Path | None:
        try:
            return found(self._folder, rest)
        except ValueError as error:
            self._problem(where, str(error))
            return None

    def _change_folder(self, rest: str, where: Where) -> None:
        path = self._path(rest, where)
        if path is not None and path.is_dir():
            self._folder = path
        elif path is not None:
            self._problem(where, f"{str(path)!r} is not a folder")

    def _set_options(self, verb: str, pairs: list[tuple[str, str]], where: Where) -> None:
        known = []
        for name, value in pairs:
            full = name if name in OPTIONS else next((o for o in OPTIONS if name and o.startswith(name)), name)
            known.append((full, value))
            if full in ("class", "type", "element", "object") and verb == "set":
                self._select(f"{value}", where)
            elif full == "datapath":
                self._change_folder(value, where)
            elif full:
                self.script.options[full] = value
        self.script.events.append(Command(verb, known, where))

    def _select(self, rest: str, where: Where) -> None:
        if not rest.split():
            self._problem(where, "select without an element")
            return
        self._active = self._find(rest.split()[0], where)

    def _element(self, verb: str, rest: str, where: Where) -> None:
        pairs = tokens(rest)
        if not pairs:
            self._problem(where, f"{verb} without an element")
            return
        (label, full), pairs = pairs[0], pairs[1:]
        if label not in ("", "object"):
            self._problem(where, f"{verb} needs class.name first, not {label}={full}")
            return
        kind, _, name = full.lower().partition(".")
        self._active = None
        if kind == "circuit":
            if self.script.circuit and verb == "new":
                self._problem(where, f"only one circuit is supported: circuit {name!r} follows {self.script.circuit!r}")
                return
            if verb == "edit":
                self._leave_out("edit circuit, which has no effect in OpenDSS (edit vsource.source has)")
                return
            self.script.circuit = full.partition(".")[2] or "circuit"
            self.script.base_frequency = self.script.option("defaultbasefrequency", "basefrequency")
            self.script.options.pop("frequency", None)
            kind, name = "vsource", "source"
        if kind not in PROPERTIES:
            self._other_class(kind, full, pairs, where)
            return
        if not name:
            self._problem(where, f"{verb} {full}: an element needs a name, as in {kind}.name")
            return
        known = self.script.elements.get((kind, name))
        if verb == "edit" and known is None:
            self._problem(where, f"edit of an unknown {kind} {name!r}")
            return
        if verb == "new" and known is not None:
            if kind not in REPLACED:
                self._problem(where, f"{kind} {name!r} is defined again; first at {known.where}")
                return
            self.script.remarks.append(
                f"{where}: {kind} {name!r} is defined again; the later values count for what follows"
            )
            known.where = where
        element = known or Element(kind, name, where)
        element.last = -1
        self._alike = None
        self.script.elements[kind, name] = self._active = element
        self._assign(element, pairs, where)

    def _other_class(self, kind: str, full: str, pairs: list[tuple[str, str]], where: Where) -> None:
        self._leave_out(kind)
        self._assign(None, pairs, where)
        if kind not in HARMLESS and kind not in SCHEDULING:
            supported = ", ".join(sorted(PROPERTIES))
            self._problem(where, f"unsupported element {full!r}; supported classes: circuit, {supported}")
            buses = [v for label, value in pairs if label.startswith("bus") for v in array(value)]
            self.script.unknown_buses.update(b.partition(".")[0].lower() for b in buses)

    def _assign(self, element: Element | None, pairs: list[tuple[str, str]], where: Where) -> None:
        if element is None:
            return
        names = PROPERTIES[element.kind]
        edit = Edit(element, [], where, self._folder)
        for label, value in pairs:
            if label:
                place = PLACES[element.kind].get(label)
                if place is None:
                    place = next((i for i, n in enumerate(names) if n.startswith(label)), None)
            else:
                place = element.last + 1 if element.last + 1 < len(names) else None
            if place is None:
                self._problem(where, f"{element.kind} {element.name!r}: unknown property {label or value!r}")
                continue
            element.last = place
            if names[place] == "enabled":
                element.enabled = is_yes(value)
            elif names[place] == "like":
                self._like(element, value, edit)
            else:
                edit.given.append((names[place], value))
        element.given.extend(edit.given)
        self.script.events.append(edit)

    def _like(self, element: Element, value: str, edit: Edit) -> None:
        model = self.script.elements.get((element.kind, value.lower()))
        if model is None:
            self._problem(edit.where, f"{element.kind} {element.name!r}: like={value} names an unknown {element.kind}")
        elif element.kind in PARTLY_LIKE:
            self._problem(
                edit.where,
                f"{element.kind} {element.name!r}: like={value}: OpenDSS copies only a part; give its values",
            )
        elif element.kind in LIKE_FIRST and any(not n.startswith("bus") for n, _ in (*element.given, *edit.given)):
            self._problem(
                edit.where,
                f"{element.kind} {element.name!r}: like={value} replaces what stands before it in parts; give it first",
            )
        else:
            # As in OpenDSS, an element like another one is at buses of its own.
            self._alike = element
            copied = [(n, v) for n, v in model.given if n not in (OPEN, CLOSE, LIKE) and not n.startswith("bus")]
            if element.kind in STATEMENTS_LIKE:
                edit.given.extend(copied)
            else:
                element.given.extend(copied)
            edit.given.append((LIKE, model.name))

    def _find(self, full: str, where: Where) -> Element | None:
        kind, _, name = full.lower().strip("\"'").partition(".")
        element = self.script.elements.get((kind, name))
        if element is None and kind in PROPERTIES and name:
            self._problem(where, f"unknown element {full!r}")
        return element

    def _matching(self, full: str, where: Where, every: bool = False) -> list[Element]:
        """The element of this name, or all of the class by ``*`` where that may stand."""
        kind, _, name = full.lower().strip("\"'").partition(".")
        if kind not in PROPERTIES:
            return []
        found = [
            e for (k, n), e in self.script.elements.items() if k == kind and (n == name or (every and name == "*"))
        ]
        if not found:
            self._problem(where, f"no element matches {full!r}")
        return found

    def _switch(self, verb: str, pairs: list[tuple[str, str]], where: Where) -> None:
        values = [value for _, value in pairs]
        if not values:
            self._problem(where, f"{verb} without an element")
            return
        for element in self._matching(values[0], where):
            if len(values) > 2 and values[2] != "0":
                self._problem(where, f"{verb} of single conductors of {element.kind} {element.name!r} is not supported")
                continue
            given = [(OPEN if verb == "open" else CLOSE, values[1] if len(values) > 1 else "1")]
            element.given.extend(given)
            self.script.events.append(Edit(element, given, where))
            self._active = element

    def _batch(self, rest: str, where: Where) -> None:
        full, changes = (*rest.split(None, 1), "", "")[:2]
        kind, _, pattern = full.lower().partition(".")
        if kind not in PROPERTIES:
            self._leave_out(f"command batchedit {kind}")
            return
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            self._problem(where, f"batchedit {full}: {pattern!r} is not a regular expression: {error}")
            return
        for element in [e for (k, n), e in self.script.elements.items() if k == kind and wanted.search(n)]:
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
