"""What is said of how a case was made, kept with it in ``case.toml``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from amm_opt.errors import InputError
from amm_opt.fields import shortened


@dataclass
class MadeFrom:
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

    def __str__(self) -> str:
        parts = [f"Import of {self.source}" if self.source else "Import"]
        for title, lines in (("Read", self.read), ("Assumed", self.assumed), ("Left out", self.left_out)):
            parts += [f"\n{title}:", *(f"  - {line}" for line in lines or ["nothing"])]
        if self.broken:
            parts += ["\nLimits that are broken whatever is served:", *(f"  - {line}" for line in self.broken)]
        return "\n".join(parts)


def report_lines(report: object) -> list[str]:
    """The table ``report`` of ``case.toml``; none for a report of another kind."""
    if not isinstance(report, MadeFrom):
        return []
    known = {item.name for item in fields(MadeFrom)}
    held = {key: value for key, value in asdict(report).items() if key in known and value}
    return ["\n[report]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in held.items())]


def as_report(table: Any, where: str) -> MadeFrom:
    """The report in a table of ``case.toml``.

    Raises:
        InputError: where it is none.
    """
    known = [item.name for item in fields(MadeFrom)]
    if not isinstance(table, dict) or not set(table) <= set(known):
        raise InputError(f"{where}: report must be a table of {', '.join(known)}")
    for key, value in table.items():
        texts = [value] if key == "source" else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"{where}: report.{key} = {shortened(value)} must be {'a text' if key == 'source' else 'texts'}"
            )
    return MadeFrom(**table)
