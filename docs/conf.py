"""Build the site from the same files that a repository host shows: `make site`.

Nothing is fetched, when the site is built or when it is looked at. What pages there are, and in
which order, stands once, in index.md: the lists of links there become the site's navigation.
"""

import re
from itertools import pairwise
from pathlib import Path

from pygments.lexers.special import TextLexer
from pygments.lexers.sql import PostgresLexer
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

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

_README = Path(__file__).parent.parent / "README.md"
# The part of the README that is the site's first page.
_TOP = re.compile(r"^(# .+?)^<!-- end of the site's first page -->$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"^- \[.+?\]\(([\w/-]+\.md)\)", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Add what the pages need beyond the standard."""
    app.connect("source-read", _make_first_page)
    # Shown as it stands: Pygments doesn't know it, and it needs no colours.
    app.add_lexer("cron", TextLexer)
    app.add_lexer("sql", PostgresLexer)


def _make_first_page(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the README's top in the place of the index's title, and make its lists the navigation."""
    if page == "index":
        source[0] = f"{_readme_top()}\n{_add_navigation(source[0])}"


def _readme_top() -> str:
    """Return what the README begins with, its links as seen from this folder."""
    found = _TOP.search(_README.read_text())
    if not found:
        raise ExtensionError("README.md says nowhere where the site's first page ends")
    return found[1].replace("](docs/", "](")


def _add_navigation(index: str) -> str:
    """Return the index's lists of links, with navigation made of them.

    A page that is in none of the lists fails the build.
    """
    headings = [*_HEADING.finditer(index)]
    ends = [*(heading.start() for heading in headings), len(index)]
    text = index[ends[0] :]
    for heading, (start, end) in zip(headings, pairwise(ends), strict=True):
        links = "\n".join(_LINK.findall(index[start:end]))
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {heading[1]}\n\n{links}\n```\n"
    return text
