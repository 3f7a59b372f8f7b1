"""The hour that a file's own solves come to, by ``mode``, ``number``, ``stepsize``, ``hour``, ``sec`` and ``time``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from amm_opt.importers.opendss.dialect.text import number, numbers

YEARLY, DAILY, DUTY, PEAK, SNAP = "yearly", "daily", "duty", "peakday", "snap"
FOLLOWS = {SNAP: (YEARLY, DAILY), YEARLY: (YEARLY, DAILY), DAILY: (DAILY,), PEAK: (DAILY,), DUTY: (DUTY, DAILY)}
"""Load shapes that loads and plants follow in each mode, the first that they have; a snapshot itself follows none."""
OTHER = {"di": "direct", "au": "autoadd", "t": "time", "dy": "dynamics", "f": "faultstudy", "h": "harmonics"}
"""Other modes by the letters that OpenDSS knows them by."""
_TIMED = {YEARLY: (3600.0, 8760), DAILY: (3600.0, 24), PEAK: (3600.0, 24), DUTY: (1.0, None)}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
CLOCKED = ("hour", "sec", "time", "stepsize", "h", "number")
"""Options of the clock, besides ``mode``."""


class Clock:
    """Follows ``set`` and ``solve``; in modes of time every solve goes on by ``number`` steps from where it stands.

    Attributes:
        mode: in one way to spell it.
        given: whether any statement said it.
        solved: the hour of the last solve since the mode was set; None where there was none.
    """

    def __init__(self) -> None:
        self.mode, self.given = SNAP, False
        self.solved: float | None = None
        self._hour, self._second, self._step_s, self._number = 0.0, 0.0, 0.001, 100

    def follow(self, given: Iterable[tuple[str, str]], solves: bool) -> None:
        """A statement.

        Raises:
            ValueError: where an option is no number.
        """
        for name, value in given:
            if name == "mode":
                self._set_mode(value.lower())
            elif name == "hour":
                self._hour = float(round(number(value)))
            elif name == "sec":
                self._second = number(value)
            elif name == "time":
                hour, *seconds = numbers(value)
                self._hour, self._second = float(round(hour)), (seconds or [self._second])[0]
            elif name in ("stepsize", "h"):
                match = re.fullmatch(r"\s*(.*?)\s*([hms]?)\s*", value.lower())
                assert match is not None
                self._step_s = number(match[1]) * _UNITS[match[2]]
            elif name == "number":
                self._number = round(number(value))
        if solves:
            self.solved = self.ends
            if self.timed:
                self._hour, self._second = 0.0, self.solved * 3600.0

    def _set_mode(self, text: str) -> None:
        modes = {"y": YEARLY, "da": DAILY, "pe": PEAK, "du": DUTY, **OTHER}
        random = text if text[:1] in ("m", "l") and len(text) > 1 else SNAP
        self.mode, self.given = next((m for letters, m in modes.items() if text.startswith(letters)), random), True
        self._hour, self._second, self.solved = 0.0, 0.0, None
        step, number_of = _TIMED.get(self.mode, (None, None))
        self._step_s, self._number = step or self._step_s, number_of or self._number

    @property
    def timed(self) -> bool:
        """Whether loads follow their shapes."""
        return self.mode in _TIMED

    @property
    def ends(self) -> float:
        """The hour at which a solve now would end."""
        if not self.timed:
            return 0.0
        start = 0.0 if self.mode == PEAK else self._hour + self._second / 3600.0
        return start + self._number * self._step_s / 3600.0
