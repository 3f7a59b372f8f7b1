"""What a rule promises everyone, whatever a mechanism gives."""

from __future__ import annotations

from abc import ABC, abstractmethod

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests


class Promise(ABC):
    """A rule that can be a floor under a mechanism."""

    @abstractmethod
    def promised_kw(self, requests: Requests) -> FloatArray:
        """(2, n) or (2, T, n) kW that everyone is promised of its requests, import and export."""
