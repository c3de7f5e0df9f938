"""What lets no one in, and nothing out: each test stands for a line of docs/security.md."""

import ast
import contextlib
import io
import itertools
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner
from command import run
from conftest import SERVER, lack
from psycopg import sql
from servers import DEBIAN, Server, free_port, running
from trees import Tree, event, query, song

import sparkify_bulk
from sparkify_bulk import cli, redaction
from sparkify_bulk.database.connection import Connection, connect, parse_conninfo
from sparkify_bulk.database.server import open_connection
from sparkify_bulk.doctor import checks
from sparkify_bulk.doctor.findings import Finding
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError
from sparkify_bulk.loading import copy

PACKAGE = Path(sparkify_bulk.__file__).parent

# --- passwords ------------------------------------------------------------------------------------

# Parts of passwords with everything between them that means something in a connection string.
PARTS = ("hush8", "Pssst9")
BETWEEN = ["", "@", ":", "/", "?", "#", "%", " ", "'", '"', "\\", "=", "&", "[", "]", "@@", "/@",
           ":@", "?a=", " host=", " port=", " x=", "%zz", "%00", "\n", "\t", "é", "' "]  # fmt: skip
FORMS = [
    "postgresql://u:{}@127.0.0.1:1/d",
    "postgres://u:{}@127.0.0.1:1/d?connect_timeout=1",
    "postgresql://u:{}@/d?host=/nowhere",
    "postgresql://u:{}@[::1/d",
    "postgresql://u:{}@127.0.0.1:port/d",
    "postgresql:/u:{}@127.0.0.1:1/d",
    "host=/nowhere user=u password={}",
    "host=/nowhere user=u password='{}'",
    "host=/nowhere user=u password='{}",
    "password={} host=/nowhere dbname=d nonsense",
    "pasword={} host=/nowhere",
]
DSNS = [form.format(between.join(PARTS)) for form, between in itertools.product(FORMS, BETWEEN)]


@pytest.mark.parametrize("form", FORMS)
def test_no_malformed_connection_string_shows_its_password(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a part of it, whatever is wrong: in the error, its hint, and what the command prints."""
    for between in BETWEEN:
        dsn = form.format(between.join(PARTS))
        with pytest.raises(DatabaseError) as caught, connect(dsn):
            pass
        shown = f"{caught.value} {caught.value.message} {caught.value.hint} {caplog.text}"
        assert not any(part in shown for part in PARTS), dsn
    assert len(DSNS) > 300


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://localhost:54321/Pssst9@127.0.0.1/d",
        "postgresql://localhost:54321/x?user=Pssst9@127.0.0.1/d",
    ],
)
def test_a_password_of_digits_is_not_taken_for_a_port(dsn: str) -> None:
    """What is not escaped there would be quoted: as the port that refuses, or as a name."""
    with pytest.raises(DatabaseError, match="can't be read") as caught, connect(dsn):
        pass
    assert "54321" not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "name", "value"),
    [
        ("postgresql://u%40example.org:p@h/d", "user", "u@example.org"),
        ("postgresql://u:p%40%3A%2F@h/d%40", "dbname", "d@"),
        ("host=h password='one host=two' user=u", "password", "one host=two"),
        ("host=h password='it\\'s port=1'", "password", "it's port=1"),
    ],
)
def test_what_is_escaped_or_quoted_is_taken(dsn: str, name: str, value: str) -> None:
    """Signs that would lead astray do no harm where they are written as they should be."""
    given = {option.keyword.decode(): option.val for option in parse_conninfo(dsn)}
    assert given[name] == value.encode()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hush8@127.0.0.1:1/d",
        "host=127.0.0.1 port=1 user=u password=hush8",
        "host=127.0.0.1 port=1 user=u password = 'hush8'",
    ],
)
def test_the_command_shows_no_password_and_warns_of_one_that_everybody_sees(dsn: str) -> None:
    """The process list shows arguments to everybody on the machine."""
    done = run("runs", "--dsn", dsn)
    said = done.stdout + done.stderr
    assert done.returncode == 4
    assert "hush8" not in said
    assert "everybody on this machine can see a password" in said
    done = run("runs", SPARKIFY_BULK_DSN=dsn)
    said = done.stdout + done.stderr
    assert "hush8" not in said
    assert "everybody" not in said


def test_psql_is_given_a_password_by_its_environment(tmp_path: Path) -> None:
    """So is all else that the connection string says; nothing of it is an argument."""
    stand_in = tmp_path / "psql"
    stand_in.write_text('#!/bin/sh\necho "$@"\necho "$PGPASSWORD $PGHOST $PGUSER"\n')
    stand_in.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SPARKIFY_BULK_DSN": "host=/nowhere user=u password=hush8",
    }
    done = subprocess.run(
        [sys.executable, "-m", "sparkify_bulk", "psql", "-l"],
        capture_output=True, check=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["-l", "hush8 /nowhere u"]


@pytest.mark.parametrize(
    "text",
    ["postgresql://u:{}@h/d", "host=h password={} user=u", "password = '{} {}'", "PASSWORD={}"],
)
def test_what_looks_like_a_password_is_cut_out_too(text: str) -> None:
    """Nobody has told of it; where it stands says what it is."""
    cut = redaction.redact(f"no server at {text.format('Qwx81', 'Qwx82')}, says libpq")
    assert "Qwx" not in cut
    assert redaction.MASK in cut
    assert cut.startswith("no server at ")


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_passwords_of_a_connection_string_are_learned(name: str) -> None:
    """They are known before anybody else hears of them."""
    parse_conninfo(f"host=/nowhere {name}=Learned-{name}")
    assert redaction.redact(f"x Learned-{name} y") == "x *** y"


@pytest.fixture
def unlearned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the passwords of other tests, and those of this one in the end."""
    monkeypatch.setattr(redaction, "_secrets", set())


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("host=/nowhere user=postgres password=postgres", "CREATE SCHEMA x AUTHORIZATION postgres"),
        ("postgresql://postgres:postgres@h/d", 'permission denied for "postgres"'),
        ("postgresql://u:Music_2024@h/music_2024", 'the database "music_2024" is full'),
        ("postgresql://u:w1@w1.example.org/d", "no route to w1.example.org"),
        ("host=h user=u password=sparkify", "DROP SCHEMA sparkify CASCADE"),
        ("host=h user=u password=5432", "port 5432, 15432 rows"),
    ],
)
@pytest.mark.usefixtures("unlearned")
def test_a_password_that_is_a_plain_word_or_a_name_of_the_connection_blots_nothing_out(
    dsn: str, text: str
) -> None:
    """Where it stands as a password it is masked all the same."""
    parse_conninfo(dsn)
    assert redaction.redact(text) == text
    secret = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    for place, masked in (
        ("password={}", "password=***"),
        ("PGPASSWORD='{}'", "PGPASSWORD=***"),
        ("PASSWORD '{}'", "PASSWORD ***"),
        ("password e'{}'", "password ***"),
        ("PASSWORD $$ {} $$", "PASSWORD ***"),
        ("postgresql://somebody:{}@h/d", "postgresql://somebody:***@h/d"),
    ):
        assert redaction.redact(f"x {place.format(secret)} y") == f"x {masked} y"


@pytest.mark.parametrize(
    "secret", ["q7Rk-Zw81", "vTq82mWz0pLx", "correcthorsebatterystaple", "4929384756102938", "pä55"]
)
@pytest.mark.usefixtures("unlearned")
def test_a_secret_is_masked_in_any_place(secret: str) -> None:
    """Even where a message quotes it as something else."""
    parse_conninfo(f"host=h user=u dbname=d password='{secret}'")
    assert redaction.redact(f'invalid value "{secret}" for option "port"') == (
        'invalid value "***" for option "port"'
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost:5432/music",
        "postgresql://u@localhost:5432/music?connect_timeout=3",
        "postgresql://[::1]:5432/music",
        "host=h user=password dbname=password",
        "https://db.example:8443/x",
    ],
)
def test_what_holds_no_password_is_neither_masked_nor_warned_of(url: str) -> None:
    """A port isn't one, nor is a name."""
    assert redaction.redact(f"to {url}, they say") == f"to {url}, they say"
    assert not redaction.holds_password(url)


CRASH = """
import logging
from sparkify_bulk import cli, pipeline, redaction

def crash(*_):
    logging.getLogger("sparkify_bulk").warning("in %s", "hush8/pass")
    raise ValueError("hush8/pass")

redaction.learn("hush8/pass")
pipeline.reload = crash
cli.main()
"""


@pytest.mark.parametrize("on_terminal", [False, True], ids=["piped", "terminal"])
def test_neither_log_nor_traceback_of_a_command_shows_a_password(
    tree: Tree, on_terminal: bool
) -> None:
    """Whatever fails in it, and wherever stderr goes."""
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", CRASH, "reload", tree.root],
        stdout=subprocess.PIPE, stderr=theirs, check=False,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as shown:
        while block := shown.read(65536):
            said += block
    assert done.returncode == 1
    assert b"in ***" in said
    assert b"ValueError: ***" in said
    assert b"hush8" not in said.partition(b"Traceback")[0]
    assert b"hush8/pass" not in said.rpartition(b"ValueError")[2]


def test_known_passwords_are_cut_out_of_logs_errors_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wherever they turn up, and in whatever form."""
    redaction.learn("s3cr3t/pass")
    record = logging.LogRecord("x", logging.INFO, "x", 1, "in %s", ("s3cr3t/pass",), None)
    assert redaction.Redacted("%(message)s").format(record) == "in ***"
    assert "s3cr3t" not in str(SparkifyBulkError("s3cr3t/pass", hint="x"))
    assert "s3cr3t" not in SparkifyBulkError("x", hint="s3cr3t%2Fpass").hint
    with pytest.raises(ValueError, match="s3cr3t") as caught:
        int("s3cr3t/pass")
    cli._show_crash(ValueError, caught.value, caught.tb)  # noqa: SLF001
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "with base 10: '***'" in shown
    assert "s3cr3t" not in shown.partition("Error:")[2]


def test_a_password_of_the_environment_is_cut_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PGPASSWORD` is learned with the first connection."""
    monkeypatch.setenv("PGPASSWORD", "fr0m-there")
    with contextlib.suppress(DatabaseError):
        connect("host=/nowhere")
    assert redaction.redact("x fr0m-there y") == "x *** y"


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a server with a certificate for db.example; return how to reach and verify it."""
    if not DEBIAN.is_dir():
        # The packaged servers are built without TLS.
        lack("Debian's PostgreSQL 15 is not installed")
    folder = tmp_path_factory.mktemp("tls")
    with running("15", port=free_port()) as server:
        certificate, key = server.data / "server.crt", server.data / "server.key"
        owner = server.data.stat()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=db.example", "-addext", "subjectAltName=DNS:db.example",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        key.chmod(0o600)
        for path in (key, certificate):
            os.chown(path, owner.st_uid, owner.st_gid)
        signer = folder / "root.crt"
        signer.write_bytes(certificate.read_bytes())
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("listen_addresses = '127.0.0.1'\nssl = on\n")
        with (server.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.1/32 trust\n")
        server.stop("fast")
        server.start()
        yield {"port": str(server.port), "sslrootcert": str(signer)}


def over_tls(encrypted: dict[str, str], **changes: str) -> str:
    """Return a connection string to that server, as one that is far away."""
    options = {
        "host": "db.example",
        "hostaddr": "127.0.0.1",
        "user": "postgres",
        "dbname": "postgres",
    }
    options |= encrypted | changes
    return " ".join(f"{name}={value}" for name, value in options.items())


def test_verify_full_reaches_the_server_and_says_nothing(
    encrypted: dict[str, str], tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole run over TLS, with the server's name and signer verified."""
    tree.logs("a.json", event())
    dsn = over_tls(encrypted, sslmode="verify-full")
    assert sparkify_bulk.reload(logs=tree.log_folder, dsn=dsn).status == "succeeded"
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    found = tls(dsn)
    assert (found.status, found.found) == ("ok", "encrypted, and the server is verified")


def tls(dsn: str) -> Finding:
    """Return what the doctor finds of a connection."""
    diagnosis = checks.diagnose(dsn=dsn, schema="sparkify")
    (found,) = [finding for finding in diagnosis.findings if finding.name == "tls"]
    return found


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("disable", "not encrypted"),
        ("require", "the server is not verified (sslmode=require)"),
        ("verify-ca", "the server is not verified (sslmode=verify-ca)"),
    ],
)
def test_anything_weaker_warns_for_a_server_elsewhere(
    encrypted: dict[str, str],
    tree: Tree,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    said: str,
) -> None:
    """It says what is missing, and what to set."""
    tree.logs("a.json", event())
    dsn = over_tls(encrypted, sslmode=mode)
    sparkify_bulk.reload(logs=tree.log_folder, dsn=dsn)
    assert said in caplog.text
    assert "use sslmode=verify-full" in caplog.text
    found = tls(over_tls(encrypted, sslmode=mode))
    assert (found.status, said in found.found) == ("warning", True)
    assert "use sslmode=verify-full" in found.hint
    caplog.clear()
    with open_connection(dsn):
        assert said in caplog.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_on_this_machine_is_no_reason_to_warn(
    encrypted: dict[str, str], caplog: pytest.LogCaptureFixture, host: str
) -> None:
    """Nobody stands between, as far as the name says."""
    with open_connection(over_tls(encrypted, host=host, sslmode="disable")):
        assert caplog.records == []


@pytest.mark.parametrize(
    "changes", [{"host": "other.example"}, {"sslrootcert": "/nowhere"}], ids=["name", "signer"]
)
def test_verify_full_refuses_another_server(
    encrypted: dict[str, str], changes: dict[str, str]
) -> None:
    """Another name, or nobody known who signed: no run."""
    with (
        pytest.raises(DatabaseError),
        connect(over_tls(encrypted, **({"sslmode": "verify-full"} | changes))),
    ):
        pass


# --- what is read stays where it belongs ----------------------------------------------------------

PRIVATE = "Zyxwvut"


def test_row_values_stay_out_of_logs_on_both_sides(tree: Tree) -> None:
    """Not even where the server logs every statement with its parameters, and the client most."""
    tree.songs("a.json", song(1, title=f"{PRIVATE} song"), song(2, artist_id=None, title=PRIVATE))
    tree.logs(
        "a.json",
        event(1, lastName=PRIVATE, location=PRIVATE),
        event(1, lastName=PRIVATE, location=f"{PRIVATE} too"),
        event(2, ts=PRIVATE),
        f"{{{PRIVATE}".encode(),
    )
    settings = "log_statement = 'all'\nlog_error_verbosity = 'verbose'\nlog_min_messages = 'log'\n"
    with running(SERVER, settings) as server:
        dsn = server.dsn("postgres")
        shown = io.StringIO()
        data = str(tree.root)
        for words in (
            ["reload", data], ["load", data, "--rehash"], ["verify", data], ["rejects", "replay"],
        ):  # fmt: skip
            done = run(*words, "--dsn", dsn, "-v")
            assert done.returncode in (0, 3), done.stderr
            shown.write(done.stderr)
        logged = (server.home / "log").read_text()
    assert "COPY" in logged
    assert PRIVATE not in logged
    assert PRIVATE not in shown.getvalue()
    assert "line" in shown.getvalue()


def test_a_copy_that_fails_quotes_no_row(server: Server, connection: Connection) -> None:
    """The server tells the line alone: what came in binary it can't show."""
    connection.execute("CREATE TABLE refusing (words text)")
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'refused'; END $$"
    )
    connection.execute(
        "CREATE TRIGGER t BEFORE INSERT ON refusing FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        copy.send(connection, sql.Identifier("refusing"), pl.DataFrame({"words": ["Vutsrqp"]}))
    assert "COPY refusing, line 1" in str(caught.value)
    assert "Vutsrqp" not in str(caught.value)
    assert "Vutsrqp" not in (server.home / "log").read_text()


def test_an_error_of_the_server_shows_no_row(database: str, tree: Tree) -> None:
    """A constraint of somebody's own refuses a row: error and record name it, and quote nothing."""
    tree.logs("a.json", event(1))
    sparkify_bulk.reload(tree.root, dsn=database)
    query(database, f"ALTER TABLE sparkify.users ADD CHECK (last_name <> '{PRIVATE}')")
    tree.logs("b.json", event(2, lastName=PRIVATE))
    with pytest.raises(SparkifyBulkError, match="violates check constraint") as caught:
        sparkify_bulk.load(tree.root, dsn=database)
    assert PRIVATE not in f"{caught.value} {caught.value.hint}"
    record = query(database, "SELECT error || report::text FROM sparkify_ledger.runs")
    assert PRIVATE not in repr(record)


# What speaks to a network in the standard library, and what people use for it.
NETWORK = {
    "aiohttp", "asyncio", "ftplib", "http", "httpx", "imaplib", "poplib", "requests", "smtplib",
    "socketserver", "ssl", "telnetlib", "urllib.request", "urllib3", "websockets", "xmlrpc",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Return what a module imports: modules, and names in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_nothing_in_the_package_speaks_to_the_network_but_libpq() -> None:
    """No telemetry: no module for it is imported anywhere, and sockets are the machine's own."""
    found, sockets = set(), set()
    for path in PACKAGE.rglob("*.py"):
        found |= imports(path)
        sockets |= set(re.findall(r"\bsocket\.(\w+)", path.read_text()))
    assert "psycopg" in found
    assert "sparkify_bulk.pipeline" in found
    assert not {
        name
        for name in found
        if any(f"{name}.".startswith(f"{one}.") for one in NETWORK) or name.startswith("socket.")
    }
    assert sockets == {"gethostname", "socket", "AF_UNIX"}


LISTENING = """
import sys
heard = []
sys.addaudithook(lambda event, args: heard.append(event) if event.split(".")[0] in
                 ("socket", "urllib", "http", "smtplib", "ftplib") else None)
import sparkify_bulk
for command in (sparkify_bulk.reload, sparkify_bulk.load):
    command(sys.argv[1], dsn=sys.argv[2])
print(sorted(set(heard) - {"socket.gethostname", "socket.__new__"}))
"""


def test_a_run_opens_no_connection_but_libpqs(database: str, tree: Tree) -> None:
    """Whatever the libraries are that it imports: the interpreter is asked what it did."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    command = [sys.executable, "-c", LISTENING, tree.root, database]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# All that PostgreSQL brings along, once more in `public`: functions and operators that fail when
# they are called, and views that fail when they are read. What can't be made so is left out.
STAND_INS = """
CREATE FUNCTION public.sprung() RETURNS integer LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a stand-in was called'; END $$;
DO $make$
DECLARE made record;
BEGIN
    FOR made IN
        SELECT format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', proname,
            pg_get_function_identity_arguments(oid), pg_get_function_result(oid),
            format('BEGIN RAISE EXCEPTION %L; END', 'a stand-in was called: ' || proname))
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
        UNION ALL
        SELECT format('CREATE OPERATOR public.%s (FUNCTION = public.%I%s%s)', oprname, proname,
            ', LEFTARG = ' || nullif(oprleft, 0)::regtype, ', RIGHTARG = ' || oprright::regtype)
        FROM pg_operator JOIN pg_proc ON pg_proc.oid = oprcode
        UNION ALL
        SELECT format('CREATE VIEW public.%I AS SELECT it.* FROM public.sprung(),'
            ' pg_catalog.%1$I it', relname)
        FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
    LOOP
        BEGIN
            EXECUTE made.format;
        EXCEPTION WHEN OTHERS THEN
        END;
    END LOOP;
END $make$;
"""


def plant(connection: Connection) -> None:
    """Plant stand-ins in a database, and let `public` be searched first."""
    connection.execute(STAND_INS.encode())
    found = connection.execute(
        "SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),"
        " (SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace),"
        " (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
    ).fetchone()
    assert found is not None
    assert all(some > few for some, few in zip(found, (2000, 700, 100), strict=True))
    path = sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog")
    connection.execute(path.format(sql.Identifier(connection.info.dbname)))


def test_a_function_that_stands_in_for_a_built_in_one_is_never_called(
    database: str, tree: Tree
) -> None:
    """Whoever may make functions in `public` can't run code as the loading role.

    Nor can operators and tables there mislead it, even where `public` is to be searched first.
    """
    tree.songs("a.json", song())
    tree.logs("a.json", event(), b"{broken")
    with psycopg.connect(database, autocommit=True) as connection:
        plant(connection)
    with (
        psycopg.connect(database) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="stand-in"),
    ):
        connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'x'")
    for words in (
        ["reload", tree.root], ["load", tree.root, "--rehash"], ["reload", tree.root],
        ["verify", tree.root], ["plan", tree.root], ["rejects", "replay"], ["rejects"], ["runs"],
        ["show"], ["query", "TABLE songplays"], ["prune", "--older-than", "0d"],
    ):  # fmt: skip
        command = [*map(str, words), "--dsn", database]
        done = CliRunner().invoke(cli.cli, command, standalone_mode=False)
        assert done.exception is None, (words, done.exception)


def test_no_stand_in_is_called_while_a_connection_is_made() -> None:
    """Over a network, where more is set, and in the database where a missing one is looked up."""
    with running(SERVER, "listen_addresses = '127.0.0.1'\n", port=free_port()) as server:
        with (server.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.1/32 trust\n")
        server.control("reload")
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            plant(connection)
        target = f"host=127.0.0.1 port={server.port} user=postgres dbname="
        with connect(f"{target}postgres") as connection:
            count = connection.execute("SHOW tcp_keepalives_count").fetchone()
            assert count == ("3",)
        with pytest.raises(DatabaseError, match='"nowhere" does not exist'):
            connect(f"{target}nowhere")
        connect(f"{target}made", create_database=True).close()


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("command", "log_format"),
    [
        *itertools.product(["reload", "load", "verify"], ["text", "json"]),
        *((command, "text") for command in ("plan", "rejects", "runs", "doctor")),
    ],
)
def test_no_name_of_a_file_is_obeyed(
    database: str, tmp_path: Path, log_format: str, command: str
) -> None:
    """Escapes, line ends, C1 controls and bidi marks come escaped in logs, tables and errors."""
    hostile = "\x1b]0;title\x07\x1b[2J\nINFO all is well\r\x9b31m\x7f\u202e\u2066\u200e"
    data = Tree(tmp_path / f"data{hostile}")
    data.songs(f"{hostile}.json", song(), b"{broken")
    data.logs(f"a{hostile}.json", event(), b"{broken")
    data.logs(f"z{hostile}.json", event(2))
    data.logs(f"left{hostile}.csv", b"a,b")
    target = ["--dsn", database]
    assert run("load", str(data.root), *target).returncode == 3
    (data.log_folder / f"z{hostile}.json").unlink()
    words = [command, *target]
    if command in ("reload", "load", "plan", "verify"):
        words.insert(1, str(data.root))
    if command in ("reload", "load", "verify"):
        words += ["-v", "--log-format", log_format]
    if command == "reload":
        words += ["--max-shrink", "1"]
    if command == "doctor":
        words += ["--songs", str(data.song_folder), "--logs", str(data.log_folder)]
    for arguments in (words, ["load", str(data.root / "not there"), "--log-format", log_format]):
        done = run(*arguments)
        said = done.stdout + done.stderr
        assert said
        assert [c for c in said if not (c.isprintable() or c == "\n")] == []
        assert "\nINFO all is well" not in said
