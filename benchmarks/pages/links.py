"""Asks every address outside the project that a page names, and lists those that do not answer.

    python benchmarks/pages/links.py

DOIs are asked at doi.org, arXiv numbers at arxiv.org. It needs a network, and says of nothing that it is wrong: a
server may refuse programs.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATTERNS = (
    (re.compile(r"https?://[^\s)>\"'`|]+"), "{}"),
    (re.compile(r"\bdoi (10\.\d{4,}/[^\s),;]+)"), "https://doi.org/{}"),
    (re.compile(r"\barXiv (\d{4}\.\d{5})"), "https://arxiv.org/abs/{}"),
)
LOCAL = ("http://127.", "http://localhost", "tcp://")
TIMEOUT_S = 20


def addresses() -> dict[str, list[str]]:
    """Pages by the address that they name."""
    found: dict[str, list[str]] = {}
    pages = [
        page for where in ("*.md", "docs/**/*.md", "data/**/*.md", "benchmarks/**/*.md") for page in ROOT.glob(where)
    ]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for pattern, address in PATTERNS:
            for part in pattern.findall(text):
                url = address.format(part.rstrip(".,"))
                if not url.startswith(LOCAL):
                    found.setdefault(url, []).append(page.relative_to(ROOT).as_posix())
    return found


def trouble(url: str) -> str:
    """Why an address does not answer; empty where it does."""
    request = urllib.request.Request(url, headers={"User-Agent": "amm-opt link check"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return str(error)


def main() -> None:
    """Ask them all, eight at a time."""
    named = addresses()
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(named, pool.map(trouble, named), strict=True))
    silent = {url: why for url, why in answers.items() if why}
    for url, why in sorted(silent.items()):
        print(f"{url}: {why} ({', '.join(sorted(set(named[url])))})")
    print(f"{len(named) - len(silent)} of {len(named)} addresses answer", file=sys.stderr)
    sys.exit(bool(silent))


if __name__ == "__main__":
    main()
