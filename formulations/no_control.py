"""NoControl: every request is served and nothing is enforced; its violations measure scarcity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, NoState


@dataclass(frozen=True)
class NoControl(Mechanism[NoState]):
    """Serves every request and enforces nothing: the counterfactual."""

    name: ClassVar[str] = "no_control"
    enforces_limits: ClassVar[bool] = False

    def program(self, grid: Grid) -> None:
        """Nothing to solve."""
        return None

    def carry_out(self, grid: Grid, plan: Allocation, requests: Requests) -> Allocation:
        """Requests are served, whatever was expected."""
        return self.full_service(grid, requests)
