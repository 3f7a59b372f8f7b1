"""What switches: SwtControl, Fuse, Recloser, Relay. They set which terminals of other elements are open.

Their states follow the statements in order, as in OpenDSS; protection (currents, curves, reclosing) does not act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amm_opt.importers.opendss.dialect.text import array, is_yes, whole
from amm_opt.importers.opendss.elements.component import Component, UnsupportedError


@dataclass
class Control(Component):
    """A switch control; ``present`` says whether it holds its element open, ``wanted`` what it will do when solving."""

    target: Component | None = None
    terminal: int = 1
    present: bool = False
    wanted: bool = False
    normal: bool | None = None
    locked: bool = False
    terminal_names: ClassVar[tuple[str, ...]] = ("switchedterm",)
    target_names: ClassVar[tuple[str, ...]] = ("switchedobj",)
    state_words: ClassVar[dict[str, str]] = {"o": "open", "c": "close, closed"}

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in self.target_names:
            assert self.find is not None
            self.target = self.find(value)
        elif name in self.terminal_names:
            self.terminal = whole(value)
        elif name in ("action", "state", "normal"):
            if not self.locked:
                self.switched(name, self._opens(name, value))
        elif name == "lock":
            self.lock(is_yes(value))
        elif name == "reset" and type(self) is Control:
            if is_yes(value):
                self.locked = False
                self.reset()
        else:
            return False
        return True

    def _opens(self, name: str, value: str) -> bool:
        words = [word.lower()[:1] for word in array(value)]
        if not words or not set(words) <= set(self.state_words):
            raise UnsupportedError(f"{name} = {value!r}; valid choices: {', '.join(self.state_words.values())}")
        opens = {word != "c" for word in words}
        if len(opens) > 1:
            raise UnsupportedError(f"{name} = [{value}]: opening single phases is not supported")
        return opens.pop()

    def switched(self, name: str, opens: bool) -> None:
        """A SwtControl acts on ``state`` at once, on the others when the circuit is solved."""
        self.wanted = opens
        if name == "normal" or self.normal is None:
            self.normal = opens
        if name == "state":
            self.present = opens
            self.apply()

    def lock(self, locked: bool) -> None:
        """What was ordered before is done; later orders are not followed."""
        if locked and not self.locked:
            self.act()
        self.locked = locked

    def apply(self) -> None:
        """Open or close the terminal."""
        if self.target is None:
            self.remarks.append(f"{self.element}: state is given before the element that it switches: without effect")
        elif self.present:
            self.target.open_terminals.add(self.terminal)
        else:
            self.target.open_terminals.discard(self.terminal)

    def act(self) -> None:
        """What happens when the circuit is solved."""
        if self.wanted != self.present and not self.locked and self.element.enabled and self.target is not None:
            self.present = self.wanted
            self.apply()

    def reset(self) -> None:
        """Back to normal, where nothing locks it."""
        if not self.locked and self.element.enabled and self.target is not None:
            self.present = self.wanted = bool(self.normal)
            self.apply()

    def finish(self) -> None:
        """Check what the script leaves."""
        if self.target is None and self.element.enabled:
            raise UnsupportedError(f"{self.target_names[0]} must be given")


@dataclass
class Protection(Control):
    """Fuse, Recloser or Relay: every statement about it puts its element into its state.

    As in OpenDSS, what is monitored is what is switched, unless ``switchedobj`` follows.
    """

    stated: bool = False
    terminal_names: ClassVar[tuple[str, ...]] = ("switchedterm", "monitoredterm")
    target_names: ClassVar[tuple[str, ...]] = ("switchedobj", "monitoredobj")
    state_words: ClassVar[dict[str, str]] = {**Control.state_words, "t": "trip"}

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name == "state" and self.element.kind == "fuse" and len(array(value)) == 1 and self._opens(name, value):
            raise UnsupportedError(
                "state = open opens one phase only, as it has a value for each: state=[open open open]"
            )
        return super().set(name, value)

    def switched(self, name: str, opens: bool) -> None:
        """Only what is not the normal state acts, and at once."""
        if name != "normal":
            self.stated = True
            self.present = self.wanted = opens
            if self.normal is None:
                self.normal = opens
        else:
            self.normal = opens

    def end_of_statement(self) -> None:
        """After all properties of a statement."""
        if self.target is not None:
            self.apply()

    def act(self) -> None:
        """Solving changes nothing."""

    def finish(self) -> None:
        """OpenDSS opens or closes what is normally open by how statements are split, or by protection."""
        super().finish()
        if self.normal and not self.present and (self.element.kind == "recloser" or not self.stated):
            raise UnsupportedError("it is normally open, but closed: say which by state, and no other normal state")
