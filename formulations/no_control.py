"""NoControl: every request is served and nothing is enforced; its violations measure scarcity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amm_opt.cases import Window
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.solve import Step


@dataclass(frozen=True)
class NoControl(Mechanism[NoState]):
    """Serves every request and enforces nothing: the counterfactual."""

    name: ClassVar[str] = "no_control"
    enforces_limits: ClassVar[bool] = False

    def program(self, step: Step) -> None:
        """Nothing to solve."""
        return None

    def carry_out(self, step: Step, plan: Allocation, window: Window) -> Allocation:
        """Requests are served, whatever was expected."""
        return self.settle(step, None, window)
