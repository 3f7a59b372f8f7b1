"""What an importer read, assumed and left out."""

from __future__ import annotations

from dataclasses import dataclass

from amm_opt.cases.folder.report import MadeFrom
from amm_opt.errors import InputError
from amm_opt.network import Feeder
from amm_opt.network.default import default_model
from amm_opt.network.excess import broken_without_injection


@dataclass
class ImportReport(MadeFrom):
    """Lists of sentences, see ``MadeFrom``; a case that is saved keeps them."""

    def check(self, feeder: Feeder) -> None:
        """Note which limits the network breaks with nobody connected, where a network model takes the feeder."""
        try:
            model = default_model(feeder)(feeder)
        except InputError:
            return
        self.broken = broken_without_injection(model)
