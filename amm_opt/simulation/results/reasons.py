"""Why intervals had no answer, or none at the first try: summarised, and told to the logger ``amm_opt``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

logger = logging.getLogger("amm_opt")

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


def most_common(reasons: Iterable[str]) -> str:
    """The reason given most often, told apart without numbers; of its kind the first."""
    listed = list(reasons)
    kinds = [_NUMBER.sub("#", reason) for reason in listed]
    return listed[kinds.index(Counter(kinds).most_common(1)[0][0])] if kinds else ""


def summarised(label: str, fallbacks: Mapping[int, str], failed: Mapping[int, str]) -> list[str]:
    """One sentence for failed intervals and one for those at a second try, where there are any."""
    found = []
    for reasons, what in ((failed, "nobody is served in"), (fallbacks, "a second try was needed in")):
        if reasons:
            count = f"{len(reasons)} interval{'s' if len(reasons) > 1 else ''}"
            often = "most often because" if len(set(reasons.values())) > 1 else "because"
            found.append(f"{label}: {what} {count}, {often}: {most_common(reasons.values())}")
    return found


def tell(label: str, times: pd.DatetimeIndex, fallbacks: Mapping[int, str], failed: Mapping[int, str]) -> None:
    """Log every interval for debugging, and a summary for information."""
    for reasons, what in ((failed, "failed"), (fallbacks, "second try")):
        for step, reason in reasons.items():
            logger.debug("%s: interval %s: %s: %s", label, times[step], what, reason)
    for sentence in summarised(label, fallbacks, failed):
        logger.info("%s", sentence)
