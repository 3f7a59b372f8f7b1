"""Notebooks as pages: their text, their code, and what they printed and drew when they were last run.

They are not run here. The suite runs them (tests/study/test_notebooks.py), ``make notebooks`` writes what they give.
"""

from __future__ import annotations

import base64
import json
import posixpath
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def output(item: dict[str, Any], place: str, images: dict[str, bytes]) -> str:
    """An output of a cell as Markdown; pictures are put beside the page."""
    data = item.get("data", {})
    if "image/png" in data:
        name = f"{place}-{len(images)}.png"
        images[name] = base64.b64decode(data["image/png"])
        return f"![what the cell draws]({posixpath.basename(name)})"
    if "text/html" in data:
        return '<div class="output">\n' + "".join(data["text/html"]).replace("\n\n", "\n") + "\n</div>"
    text = "".join(item.get("text") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```"


def page(path: Path, place: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by their paths on the site."""
    images: dict[str, bytes] = {}
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        parts += [output(item, place, images) for item in cell["outputs"]]
    return "\n\n".join(parts) + "\n", images


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A page in place of every notebook; the notebook itself stays to be downloaded."""
    for file in [f for f in files if f.src_uri.endswith(".ipynb")]:
        place = file.src_uri.removesuffix(".ipynb")
        text, images = page(Path(str(file.abs_src_path)), place)
        title, _, rest = text.partition("\n")
        name = posixpath.basename(file.src_uri)
        text = f'{title}\n\n<a href="{name}" download>The notebook</a>\n{rest}'
        files.append(File.generated(config, f"{place}.md", content=text))
        for image, content in images.items():
            files.append(File.generated(config, image, content=content))
    return files
