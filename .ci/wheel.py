"""Build the wheel and use it from a new environment, in a folder that knows nothing of the repository."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEES = """
import amm_opt, formulations, sys
assert amm_opt.__file__.startswith(sys.prefix), amm_opt.__file__
print(amm_opt.__version__, len(amm_opt.load_case("mv33lv").participants), "participants")
"""
RUN = "out/amm"
COMMANDS = (
    ["-m", "amm_opt", "--version"],
    ["-c", SEES],
    ["-m", "amm_opt", "cases"],
    ["-m", "amm_opt", "compare", "mv33lv", "--start", "2016-05-23 18:00", "--steps", "4", "--out", "out"],
    ["-m", "amm_opt", "verify", RUN],
    ["-m", "amm_opt", "report", "out"],
    ["-m", "amm_opt", "export", RUN, "--format", "csip-aus", "--steps", "1", "--out", "csip"],
    ["-m", "amm_opt", "compare", "pjm5", "--mechanisms", "lmp,dispatch", "--steps", "2"],
)


def python_of(folder: Path) -> str:
    """A new environment's Python."""
    venv.create(folder, with_pip=True)
    return str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")


def main() -> None:
    """Build, install with three extras, and use."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        python, wheels, empty = python_of(place / "env"), place / "wheels", place / "empty"
        empty.mkdir()
        pip = [python, "-m", "pip", "--quiet"]
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
        (wheel,) = wheels.glob("*.whl")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, Python {sys.version.split()[0]}")
        subprocess.run([*pip, "install", f"{wheel}[report,ac,export]"], check=True)
        for words in COMMANDS:
            subprocess.run([python, "-P", *words], cwd=empty, check=True)


if __name__ == "__main__":
    main()
