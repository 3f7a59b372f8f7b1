"""Mathematics as MathML, made while the site is built: no script and no font has to be fetched to read it.

Pages write LaTeX between dollar signs, as the repository's viewers do. Symbols with an index in running text, such as
x_i or F_h, are set as mathematics too, and <= as one sign.
"""

from __future__ import annotations

import html as entities
import re

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

WITHOUT = re.compile(r"(<(pre|code|math|a|script|svg)\b.*?</\2>|<[^>]+>)", re.DOTALL)
"""What running text is not: code, formulas, links and tags."""
GREEK = {"mu": "μ", "delta": "δ", "lambda": "λ", "eta": "η", "chi": "χ"}
SYMBOL = re.compile(rf"(?<![\w.-])([A-Za-z]|{'|'.join(GREEK)})_(\d|[a-z]{{1,2}}|max|min|import|export)(?![\w/])")
UNITS = {"kw", "kv", "pu", "mw", "id"}
MARKED = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def mathml(found: re.Match[str]) -> str:
    """A formula that Markdown marked."""
    display = "block" if found[1] == "div" else "inline"
    latex = entities.unescape(found[2]).strip().replace("{aligned}", "{align*}")  # the name that the converter knows
    formula = convert(latex, display=display)
    return f'<div class="formula">{formula}</div>' if display == "block" else formula


def symbol(found: re.Match[str]) -> str:
    """A letter with an index."""
    if found[2] in UNITS:
        return found[0]
    index = f"<mtext>{found[2]}</mtext>" if len(found[2]) > 2 else f"<mi>{'</mi><mi>'.join(found[2])}</mi>"
    return f"<math><msub><mi>{GREEK.get(found[1], found[1])}</mi><mrow>{index}</mrow></msub></math>"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas instead of what marks them."""
    parts = WITHOUT.split(MARKED.sub(mathml, html))
    parts[::3] = [SYMBOL.sub(symbol, text.replace("&lt;=", "≤").replace("&gt;=", "≥")) for text in parts[::3]]
    return "".join(part for place, part in enumerate(parts) if place % 3 != 2)
