"""A mechanism whose process is killed while it runs, and one that fails."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amm_opt as ao
from formulations import NoControl


@dataclass(frozen=True)
class Deadly(NoControl):
    """Serves everything, but the first ``kills`` times its process is killed by SIGKILL.

    Args:
        mark: a folder in which the kills are counted.
        fails: whether it raises an error that is none of the toolkit's.
    """

    mark: str = ""
    kills: int = 0
    fails: bool = False

    def initial_state(self, case: ao.Case) -> Any:
        if self.fails:
            raise ZeroDivisionError("made to fail")
        before = sorted(Path(self.mark).glob(f"{self.kills}-*"))
        if len(before) < self.kills:
            (Path(self.mark) / f"{self.kills}-{len(before)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().initial_state(case)
