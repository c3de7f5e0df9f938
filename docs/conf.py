"""Build the site from the same files that a repository host shows: `make site`.

Nothing is fetched, when the site is built or when it is looked at. What pages there are, and in
which order, stands once, in index.md: the lists of links there become the site's navigation.
"""

import re
from itertools import pairwise

from pygments.lexers.special import TextLexer
from pygments.lexers.sql import PostgresLexer
from sphinx.application import Sphinx

from sparkify_bulk import __version__

project = "sparkify_bulk"
author = "the authors of sparkify_bulk"
version = release = __version__
extensions = ["myst_parser"]
nitpicky = True
# Links to headings, as repository hosts make them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"{project} {version}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_use_index = False
# Found pages are listed without excerpts: from a folder, a browser lets no page read another.
html_show_search_summary = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}
# Pages that say the same are the same, whenever they were built.
html_last_updated_fmt = None

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"^- \[.+?\]\(([\w/-]+\.md)\)", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Add what the pages need beyond the standard."""
    app.connect("source-read", _add_navigation)
    # Shown as they stand: Pygments doesn't know them, and they need no colours.
    for language in ("mermaid", "cron"):
        app.add_lexer(language, TextLexer)
    app.add_lexer("sql", PostgresLexer)


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the index's lists of links the navigation; a page in none of them fails the build."""
    if page != "index":
        return
    text = source[0]
    headings = [*_HEADING.finditer(text)]
    ends = [*(heading.start() for heading in headings), len(text)]
    for heading, (start, end) in zip(headings, pairwise(ends), strict=True):
        links = "\n".join(_LINK.findall(text[start:end]))
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {heading[1]}\n\n{links}\n```\n"
    source[0] = text
