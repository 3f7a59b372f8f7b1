"""From the README to a mechanism of one's own, a report and limits for tomorrow: a script of at most 30 lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = 30
OWN = re.compile(r"<!-- file: my_mechanism.py -->\n```python\n(.*?)```", re.DOTALL)
COMMANDS = """
CASE=synthetic:buses=40,days=1,seed=1
amm-opt compare $CASE --mechanisms equal_doe,amm,my_mechanism.py:SameShare:export_weight=2 --out out
amm-opt report out
amm-opt export out/amm --format csv --timezone Etc/GMT-10 --out limits.csv
"""


def test_a_stranger_gets_from_the_readme_to_a_report(tmp_path: Path) -> None:
    own = OWN.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert own is not None
    script = f"cat > my_mechanism.py <<'END'\n{own[1]}END{COMMANDS}"
    assert len([line for line in script.splitlines() if line.strip()]) <= LINES
    command = f'set -e; amm-opt() {{ "{sys.executable}" -m amm_opt "$@"; }}\n{script}'
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for label in ("equal_doe", "amm", "my_mechanism.py:SameShare:export_weight=2"):
        assert label in page
    assert (tmp_path / "limits.csv").read_text(encoding="utf-8").startswith("site,start_utc,duration_s,import_limit_w")
