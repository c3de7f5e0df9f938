"""The page about a run and the star, opened in a real browser."""

import contextlib
import datetime as dt
import json
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import run
from conftest import lack
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg import sql
from servers import Server
from trees import MOMENT, Tree, event, query, song

import sparkify_bulk
from sparkify_bulk.database.connection import Connection, connect
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.reporting import facts, figures, page, parts
from sparkify_bulk.reporting.periods import MOST

DAY_MS = 86_400_000
BAD = b'{"page": "NextSong"}'
EVIL = '<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 2">'

# What the eye sees of an element: its own colour, and the first background behind it.
CONTRAST = """selector => [...document.querySelectorAll(selector)]
  .filter(element => element.checkVisibility() && element.textContent.trim())
  .map(element => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b]
      .map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const style = getComputedStyle(element);
    const own = light(rgb(element.closest('svg') ? style.fill : style.color));
    let behind = element;
    const none = 'rgba(0, 0, 0, 0)';
    while (behind && getComputedStyle(behind).backgroundColor === none) {
      behind = behind.parentElement;
    }
    const other = light(rgb(getComputedStyle(behind).backgroundColor));
    return [(Math.max(own, other) + 0.05) / (Math.min(own, other) + 0.05), element.textContent];
  })"""
WORDS = ("h1", "h2", "h3", "p", "li", "dt", "dd strong", "dd span", "th", "td", "summary",
         "figcaption", "small", "footer", ".sign")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser."""
    program = shutil.which("chromium")
    if program is None:
        lack("no chromium: apt-get install chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Page]:
    """Open a page; nothing may be wrong with it, and it may ask for nothing but itself."""
    said: list[str] = []
    asked: list[str] = []
    with contextlib.closing(browser.new_context(**context)) as made:
        tab = made.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        yield tab
        assert said == []
        assert asked == [path.as_uri()]


def written(database: str, folder: Path, run_id: int | None = None) -> Path:
    """Write the page."""
    path = folder / "page.html"
    with connect(database) as connection:
        page.write(connection, "sparkify", path, run_id)
    return path


def text(path: Path) -> str:
    """Return the page's words, without marks and spaces between them."""
    without = re.sub(r"<style>.*?</style>|<[^>]+>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(without.split())


@pytest.fixture(scope="module")
def pattern(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Load a star to copy; return the name of its database."""
    tree = three_days(Tree(tmp_path_factory.mktemp("pattern")))
    sparkify_bulk.reload(tree.root, dsn=module_database)
    return module_database.rpartition("dbname=")[2]


@pytest.fixture
def loaded(server: Server, database: str, pattern: str, tree: Tree) -> str:
    """Put a copy of that star in the place of the test's database; its files are the tree's."""
    three_days(tree)
    name = database.rpartition("dbname=")[2]
    server.drop(name)
    server.create(name, pattern)
    return database


def three_days(tree: Tree) -> Tree:
    """Write the files of three days, one of them without plays, with a reject."""
    tree.songs("a.json", song(), song(2, year=0, artist_location=""))
    tree.logs("a.json", event(1), event(2, level="paid", userId="8"), event(3, page="Home"), BAD)
    tree.logs("b.json", event(4, ts=MOMENT + 2 * DAY_MS, song="Unheard"))
    return tree


# --- in the browser -------------------------------------------------------------------------------


def test_the_page_stands_alone(loaded: str, browser: Browser, tmp_path: Path) -> None:
    """Opened from a file it shows its verdict first, without scripts, errors or other requests."""
    with opened(browser, written(loaded, tmp_path)) as tab:
        assert tab.locator("h1").inner_text() == "Loaded, but 1 record was rejected"
        assert tab.title().startswith("Loaded, but 1 record was rejected: run 1")
        assert tab.locator("script, link[rel=stylesheet], img, iframe").count() == 0
        assert tab.locator("h2").all_inner_texts() == [
            "The run", "The star", "Quality of the data", "The last runs",
        ]  # fmt: skip


def test_hostile_text_is_only_text(
    database: str, tree: Tree, browser: Browser, tmp_path: Path
) -> None:
    """Marks in titles, places, names of files, errors and the report become no elements."""
    tree.songs("a.json", song(title=EVIL, artist_name=EVIL))
    tree.logs(
        "<img src=x onerror=hacked()>.json", event(song=EVIL, artist=EVIL, location=EVIL), BAD
    )
    sparkify_bulk.reload(tree.root, dsn=database)
    evil_phase = {"name": EVIL, "seconds": 1.5, "began": 0.0, "client_cpu_seconds": 0.0,
                  "server_cpu_seconds": None, "records": 0, "bytes": 0}  # fmt: skip
    report = {"target": EVIL, "phases": [evil_phase | {"steps": [evil_phase]}]}
    query(
        database,
        "UPDATE sparkify_ledger.runs SET error = %s, input = %s, report = report || %s::jsonb",
        (EVIL, EVIL, json.dumps(report)),
    )
    query(database, "UPDATE sparkify_ledger.rejects SET detail = %s, reason = %s", (EVIL, EVIL))
    with opened(browser, written(database, tmp_path)) as tab:
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("script, img, [onerror]").count() == 0
        shown = tab.locator("body").inner_text()
        for place in (".ranking", ".rejects", ".error", ".about"):
            assert EVIL in tab.locator(place).first.inner_text()
    assert "<img src=x onerror=hacked()>" in shown


def test_the_pages_policy_stops_what_should_have_been_escaped(
    loaded: str, browser: Browser, tmp_path: Path
) -> None:
    """Scripts, forms, and what is to come from elsewhere do nothing."""
    path = written(loaded, tmp_path)
    planted = """<body><script>window.hacked = 1</script><img src="http://127.0.0.1:1/x.png">
        <link rel=stylesheet href="http://127.0.0.1:1/x.css"><iframe src="http://127.0.0.1:1"></iframe>
        <form action="http://127.0.0.1:1/"></form>"""
    path.write_text(re.sub("<body[^>]*>", planted, path.read_text(), count=1))
    with contextlib.closing(browser.new_context()) as made:
        tab = made.new_page()
        asked: list[str] = []
        said: list[str] = []
        tab.on("requestfinished", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.goto(path.as_uri())
        tab.evaluate("document.forms[0].submit()")
        assert tab.evaluate("window.hacked") is None
        assert tab.url == path.as_uri()
        assert asked == [path.as_uri()]
    stopped = ("script-src", "img-src", "style-src", "frame-src", "form-action")
    assert [word for word in stopped if not any(word in text for text in said)] == []


def test_marks_that_turn_text_around_are_shown(database: str, tree: Tree, tmp_path: Path) -> None:
    """Text that isn't visible, or would change what stands beside it, is escaped; long text cut."""
    tree.logs("a.json", event(song="a\u202eb\tc", artist="x" * 1000))
    sparkify_bulk.reload(tree.root, dsn=database)
    shown = text(written(database, tmp_path))
    assert "a\\u202eb\\tc" in shown
    assert "x" * parts.TEXT_LENGTH + "…" in shown
    assert "x" * (parts.TEXT_LENGTH + 1) not in shown


@pytest.mark.every(2)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(
    loaded: str, browser: Browser, tmp_path: Path, scheme: Any
) -> None:
    """Words and the text of charts have a contrast of 4.5 to 1 or more (WCAG 2, AA)."""
    query(loaded, "UPDATE sparkify_ledger.runs SET error = 'so'")
    with opened(browser, written(loaded, tmp_path), color_scheme=scheme) as tab:
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")
        for level in ("good", "warn", "bad", "running"):
            tab.locator(".verdict").evaluate(f"each => each.className = 'verdict {level}'")
            for selector in (*WORDS, "svg.chart text"):
                found = tab.evaluate(CONTRAST, selector)
                assert found, selector
                for contrast, words in found:
                    assert contrast >= 4.5, (level, selector, words)


@pytest.mark.full
def test_a_phone_shows_all_of_it(loaded: str, browser: Browser, tmp_path: Path) -> None:
    """On 375 pixels nothing sticks out, and the text of charts is no smaller than 9 pixels."""
    phone = {"width": 375, "height": 800}
    with opened(browser, written(loaded, tmp_path), viewport=phone) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 375
        sizes = tab.evaluate(
            "[...document.querySelectorAll('svg.chart')].filter(svg => svg.checkVisibility())"
            ".flatMap(svg => [...svg.querySelectorAll('text')].map(text =>"
            " parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a))"
        )
        assert min(sizes) >= 8.5
        assert tab.locator("svg.wide:visible").count() == 0


@pytest.mark.full
def test_on_paper_all_is_unfolded(loaded: str, browser: Browser, tmp_path: Path) -> None:
    """Printed, every table is seen, on white, even from a dark screen."""
    with opened(browser, written(loaded, tmp_path), color_scheme="dark") as tab:
        folded = tab.locator("details:not([open]) table").first
        assert not folded.is_visible()
        tab.emulate_media(media="print")
        assert folded.is_visible()
        assert all(table.is_visible() for table in tab.locator("table").all())
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )


def test_every_chart_has_a_name_and_a_table(loaded: str, browser: Browser, tmp_path: Path) -> None:
    """Who can't see a chart has its name, and the same in numbers; ids stand once."""
    with opened(browser, written(loaded, tmp_path)) as tab:
        charts = tab.locator("figure").all()
        assert len(charts) == 7
        for chart in charts:
            drawn = chart.locator("svg:visible")
            assert drawn.get_attribute("role") == "img"
            assert drawn.get_attribute("aria-label") == chart.locator("h3").inner_text()
            assert chart.locator("details tbody tr").count() >= 1
        ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
        assert len(ids) == len(set(ids))


# --- what it says ---------------------------------------------------------------------------------


def test_a_run_with_rejects(loaded: str, tmp_path: Path) -> None:
    """Rejects are counted by reason, with file, line and detail, and never their raw text."""
    path = written(loaded, tmp_path)
    shown = text(path)
    assert "missing_field 1" in shown
    assert "log_data/a.json 4 ts ts is missing or null" in shown
    assert "NextSong" not in path.read_text()


def test_the_star_in_figures(loaded: str, tmp_path: Path) -> None:
    """Counts are the star's; days without plays, years and places not known are told."""
    shown = text(written(loaded, tmp_path))
    assert "Plays in the star 3 2018-11-15 to 2018-11-17" in shown
    assert "1 day between the first play and the last has none." in shown
    assert "Days with plays 66.7 % 2 of 3" in shown
    assert "none on 2018-11-16" in shown
    assert "Plays matched with a song 66.7 % 2 of 3" in shown
    assert "Songs with a year 50.0 % 1 of 2" in shown
    assert "Artists with a place 50.0 % 1 of 2" in shown
    assert "day plays 2018-11-15 2 2018-11-16 0 2018-11-17 1" in shown
    assert "day free paid 2018-11-15 1 1 2018-11-16 0 0 2018-11-17 1 0" in shown
    assert "day new users 2018-11-15 2 2018-11-16 0 2018-11-17 0" in shown
    assert "Most on Thursdays from 00:00: 2 plays." in shown


def test_a_run_that_went_well(database: str, tree: Tree, tmp_path: Path) -> None:
    """Nothing rejected, nothing missing: all is well."""
    tree.logs("a.json", event())
    sparkify_bulk.load(logs=tree.log_folder, dsn=database)
    assert "All is well Run 1 (load) ended in" in text(written(database, tmp_path))


def test_an_empty_star(database: str, tree: Tree, tmp_path: Path) -> None:
    """Where nothing was played the page says so, and draws the run all the same."""
    tree.logs("a.json", event(page="Home"))
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    shown = text(written(database, tmp_path))
    assert "The star holds no plays." in shown
    assert "Where the time went" in shown
    assert "Plays matched with a song none 0 of 0" in shown


def test_a_failed_run_without_a_star(database: str, tree: Tree, tmp_path: Path) -> None:
    """A first run that fails has a page: why, what it rejected, and that there is no star."""
    tree.logs("a.json", event(), BAD)
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.reload(logs=tree.log_folder, dsn=database, max_rejects=0)
    shown = text(written(database, tmp_path))
    assert "The run failed" in shown
    assert "1 records were rejected, 0 are allowed" in shown
    assert "There is no star in the schema sparkify." in shown
    assert "missing_field 1" in shown


def test_a_run_that_died_without_a_word(loaded: str, tmp_path: Path) -> None:
    """A run that left no report has a page of what the ledger knows; the star is as before."""
    query(loaded, "UPDATE sparkify_ledger.runs SET status = 'failed', report = NULL")
    shown = text(written(loaded, tmp_path))
    assert "The run failed" in shown
    assert "Plays in the star 3" in shown


def test_a_star_of_another_version_is_no_obstacle(loaded: str, tmp_path: Path) -> None:
    """Where this version can't read the star, the run's page is written all the same."""
    query(loaded, "ALTER TABLE sparkify.users DROP COLUMN gender")
    assert "There is no star in the schema sparkify." in text(written(loaded, tmp_path))


def test_another_run_than_the_last(database: str, tree: Tree, tmp_path: Path) -> None:
    """A run is found by its number, and told not to be the latest."""
    sparkify_bulk.reload(three_days(tree).root, dsn=database)
    sparkify_bulk.load(tree.root, dsn=database)
    assert "It read nothing" in text(written(database, tmp_path))
    shown = text(written(database, tmp_path, 1))
    assert "run 1 · as of" in shown
    assert "It is not the latest: run 2 (load, succeeded) came later." in shown


@pytest.mark.full
def test_a_slow_run_is_told(loaded: str, tree: Tree, tmp_path: Path) -> None:
    """A run that took much longer than those before it has a note that says so."""
    for _ in range(6):
        sparkify_bulk.load(tree.root, dsn=loaded)
    assert "times as long" not in text(written(loaded, tmp_path))
    query(
        loaded,
        "UPDATE sparkify_ledger.runs SET report = jsonb_set(report, '{seconds}', "
        "to_jsonb(CASE run_id WHEN 7 THEN 100 ELSE 10 END))",
    )
    shown = text(written(loaded, tmp_path))
    assert (
        "It took 10.0 times as long as the median of the runs of load before it, 10.0 s." in shown
    )
    assert "Duration 1 min 40 s usually 10.0 s" in shown


def test_runs_that_are_not_there(loaded: str, tmp_path: Path) -> None:
    """A number that no run has is a usage error, which names those that there are."""
    with pytest.raises(UsageError, match="there is no run 9: the ledger has runs 1 to 1"):
        written(loaded, tmp_path, 9)
    query(loaded, "UPDATE sparkify_ledger.runs SET command = 'verify'")
    with pytest.raises(UsageError, match="has no load or reload that has ended"):
        written(loaded, tmp_path)


def test_a_database_without_a_ledger(database: str, tmp_path: Path) -> None:
    """Where nothing ever ran there is nothing to tell."""
    with pytest.raises(UsageError, match="the ledger sparkify_ledger has no runs"):
        written(database, tmp_path)


def test_a_century_of_plays(database: str, tree: Tree, tmp_path: Path) -> None:
    """A star of many years is drawn by year; the page says so, and its tables stay short."""
    far = (dt.datetime(2099, 5, 1, tzinfo=dt.UTC).timestamp(), 662_774_400.0)
    tree.logs("a.json", *(event(n, ts=int(ts * 1000)) for n, ts in enumerate(far)))
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    path = written(database, tmp_path)
    assert "Plays by year" in text(path)
    assert "By year, as there are more than 400 days" in text(path)
    assert max(block.count("<tr>") for block in path.read_text().split("<table")) <= MOST + 2


@pytest.mark.full
def test_the_same_star_gives_the_same_charts(loaded: str) -> None:
    """Drawn twice, a page is the same text: no date, no name by chance."""
    with connect(loaded) as connection:
        found = facts.read(connection, page.schemas("sparkify"), None)
    assert page.render(found) == page.render(found)


def test_names_of_steps_are_no_formulas() -> None:
    """Signs that mean something to what draws the charts stand as they are."""
    drawn = figures.timeline("T", [figures.Bar(r"$\frac{<&$", 0, 1)])
    assert all(r"$\frac{&lt;&amp;$" in svg for svg in drawn)


# --- of one moment --------------------------------------------------------------------------------


def test_the_page_is_of_one_moment(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed while the page is read isn't on it."""
    rows = facts._rows  # noqa: SLF001 - to come between two queries

    def disturbed(connection: Connection, statement: str, **parameters: Any) -> Any:
        found = rows(connection, statement, **parameters)
        if statement == "ledger/run":
            query(loaded, "DELETE FROM sparkify.songplays")
            query(loaded, "DELETE FROM sparkify_ledger.rejects")
        return found

    monkeypatch.setattr(facts, "_rows", disturbed)
    shown = text(written(loaded, tmp_path))
    assert "Plays in the star 3" in shown
    assert "missing_field 1" in shown


def test_a_reload_that_switches_just_before_is_seen(
    loaded: str, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment is found after the tables: a star switched in between isn't found empty."""
    see = facts._see  # noqa: SLF001 - to come before the lock
    done: list[bool] = []

    def disturbed(connection: Connection, schema: str) -> None:
        see(connection, schema)
        if not done:
            done.append(True)
            sparkify_bulk.reload(tree.root, dsn=loaded)

    monkeypatch.setattr(facts, "_see", disturbed)
    shown = text(written(loaded, tmp_path))
    assert "Plays in the star 3" in shown
    assert "Users 2" in shown
    assert "Songs with a year 50.0 % 1 of 2" in shown


def test_tables_of_the_same_name_in_the_star_are_not_the_ledger(
    loaded: str, tmp_path: Path
) -> None:
    """Somebody's own table called runs, in the star's schema, changes nothing."""
    query(loaded, "CREATE TABLE sparkify.runs (x int)")
    query(loaded, "CREATE TABLE sparkify.rejects (x int)")
    assert "missing_field 1" in text(written(loaded, tmp_path))


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_file_is_replaced_whole_or_not_at_all(
    loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that exists is replaced; where that fails the old one stays, and nothing else."""
    (tmp_path / "page.html").write_text("old")
    path = written(loaded, tmp_path)
    assert path.read_text().startswith("<!doctype html>")
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "no room")))
    with pytest.raises(UsageError, match="can't be written: no room"):
        written(loaded, tmp_path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir() if each.name != "data"] == ["page.html"]


def test_what_is_no_place_for_a_page_is_refused(loaded: str, tmp_path: Path) -> None:
    """No folder, a folder, a device, a folder that takes no files: each is a usage error."""
    with connect(loaded) as connection:
        for output, why in (
            (tmp_path / "missing" / "page.html", "there is no folder"),
            (tmp_path, "is not a file"),
            (Path("/dev/null"), "is not a file"),
            (Path("/proc/page.html"), "can't be written"),
        ):
            with pytest.raises(UsageError, match=why):
                page.write(connection, "sparkify", output)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_the_command_writes_the_page(loaded: str, tmp_path: Path) -> None:
    """`report` writes the file and says so; a run that isn't there ends with 2."""
    output = tmp_path / "page.html"
    command = ["report", "--dsn", loaded, "--output", str(output)]
    done = run(*command)
    assert (done.returncode, done.stdout) == (0, f"Written: {output}\n"), done.stderr
    assert "<!doctype html>" in output.read_text()
    done = run(*command, "--run", "9")
    assert done.returncode == 2
    assert "Error: there is no run 9" in done.stderr


def test_a_reader_of_star_and_ledger_can_write_it(
    loaded: str, connection: Connection, tmp_path: Path
) -> None:
    """SELECT on the two schemas is all that the page needs."""
    role = sql.Identifier(f"reader_{connection.info.dbname}")
    grants = sql.SQL(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA sparkify, sparkify_ledger TO {role};"
        "GRANT SELECT ON ALL TABLES IN SCHEMA sparkify, sparkify_ledger TO {role}"
    )
    connection.execute(grants.format(role=role))
    try:
        with connect(loaded) as reader:
            reader.execute(sql.SQL("SET ROLE {}").format(role))
            page.write(reader, "sparkify", tmp_path / "page.html")
    finally:
        connection.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=role))
    assert "Plays in the star 3" in text(tmp_path / "page.html")
