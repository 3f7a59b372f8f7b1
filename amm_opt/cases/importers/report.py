"""What an import did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ImportReport:
    """What was read (counts), what was assumed, and what was left out; printed as a short text."""

    read: dict[str, int] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = ["read: " + (", ".join(f"{count} {what}" for what, count in self.read.items()) or "nothing")]
        for title, items in (("assumed", self.assumed), ("left out", self.left_out)):
            lines.append(f"{title}:" + ("" if items else " nothing"))
            lines += [f"  - {item}" for item in items]
        return "\n".join(lines)
