"""The documentation as a site: whole, and looked at without a network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
# What a browser fetches by itself, not what somebody may click on.
FETCHED = {"link": "href", "script": "src", "img": "src", "source": "srcset", "iframe": "src"}
STYLED = re.compile(r"url\([\"']?(?!data:)([^)\"']+)")


class Fetches(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what a tag refers to."""
        name = dict(attrs).get(FETCHED.get(tag, ""))
        # Search engines and the like read these; a browser doesn't.
        if name and dict(attrs).get("rel") not in ("canonical", "search", "index", "next", "prev"):
            self.names.append(name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make site` does: with a link that leads nowhere, it fails."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet",
         "--doctree-dir", folder / "doctrees", DOCS, folder / "site"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_page_is_built(site: Path) -> None:
    """Each file of the documentation is a page, and leads to all others by the navigation."""
    pages = [page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")]
    front = (site / "index.html").read_text()
    for page in pages:
        assert (site / page).exists(), page
        assert page.name == "index.html" or f'href="{page}"' in front, page


def test_the_first_page_is_the_readme_with_its_pictures(site: Path) -> None:
    """It says what is typed first, shows the terminal and the page, and lists all pages."""
    front = (site / "index.html").read_text()
    assert re.search(r"make.{0,40}load", front)
    for picture in ("terminal.svg", "report.png"):
        assert f'src="_images/{picture}"' in front
    assert 'href="start.html"' in front
    assert "docs/" not in re.findall(r'href="([^"#]*)"', front)


def test_the_star_is_shown_as_a_picture(site: Path) -> None:
    """The page about the star has the drawing, not the source of a diagram."""
    page = (site / "schema.html").read_text()
    assert 'src="_images/star.svg"' in page
    assert "erDiagram" not in page


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Styles, scripts, fonts and pictures are files of the site."""
    for page in site.rglob("*.html"):
        fetches = Fetches()
        fetches.feed(page.read_text())
        assert len(fetches.names) > 3, page
        for name in fetches.names:
            assert (page.parent / name.split("?")[0]).exists(), f"{page.name}: {name}"
    for style in site.rglob("*.css"):
        assert "@import" not in style.read_text(), style
        for name in STYLED.findall(style.read_text()):
            assert (style.parent / name).exists(), f"{style.name}: {name}"
