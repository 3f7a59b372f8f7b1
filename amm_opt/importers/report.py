"""What an importer read, assumed and left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from amm_opt.errors import InputError
from amm_opt.network import Feeder
from amm_opt.network.default import default_model
from amm_opt.network.excess import broken_without_injection


@dataclass
class ImportReport:
    """Lists of sentences; print it.

    Attributes:
        source: the file or data set.
        read: what was found.
        assumed: what the data do not say and the importer supplied or interpreted.
        left_out: what the data say and the network does not contain.
        broken: limits that the network breaks with nobody connected, so that no outcome keeps them all.
    """

    source: str = ""
    read: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, feeder: Feeder) -> None:
        """Note which limits the network breaks with nobody connected, where a network model takes the feeder."""
        try:
            model = default_model(feeder)(feeder)
        except InputError:
            return
        self.broken = broken_without_injection(model)

    def __str__(self) -> str:
        parts = [f"Import of {self.source}" if self.source else "Import"]
        for title, lines in (("Read", self.read), ("Assumed", self.assumed), ("Left out", self.left_out)):
            parts += [f"\n{title}:", *(f"  - {line}" for line in lines or ["nothing"])]
        if self.broken:
            parts += ["\nLimits that are broken whatever is served:", *(f"  - {line}" for line in self.broken)]
        return "\n".join(parts)
