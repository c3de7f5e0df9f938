"""What lets no one in, and nothing out: each test stands for a line of docs/security.md."""

import ast
import contextlib
import io
import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from conftest import SERVER, lack
from servers import DEBIAN, free_port, running
from trees import Tree, event, song

import sparkify_bulk
from sparkify_bulk import cli, doctor, redaction
from sparkify_bulk.connection import connect
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError

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


def test_a_password_of_digits_is_not_taken_for_a_port() -> None:
    """What is not escaped there would be quoted: as the port that refuses, or as a name."""
    with (
        pytest.raises(DatabaseError, match="can't be read") as caught,
        connect("postgresql://localhost:54321/Pssst9@127.0.0.1/d"),
    ):
        pass
    assert "54321" not in str(caught.value)


def test_the_command_shows_no_password_and_warns_of_one_that_everybody_sees() -> None:
    """The process list shows arguments to everybody on the machine."""
    command = [sys.executable, "-m", "sparkify_bulk", "runs", "--dsn"]
    dsn = "postgresql://u:hush8@127.0.0.1:1/d"
    done = subprocess.run([*command, dsn], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 4
    assert "hush8" not in said
    assert "everybody on this machine can see a password" in said
    named = os.environ | {"SPARKIFY_BULK_DSN": dsn}
    done = subprocess.run(command[:-1], capture_output=True, check=False, env=named)
    said = (done.stdout + done.stderr).decode()
    assert "hush8" not in said
    assert "everybody" not in said


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
    assert (found.status, found.found) == ("ok", "encrypted, and who answers is verified")


def tls(dsn: str) -> doctor.Finding:
    """Return what the doctor finds of a connection."""
    diagnosis = doctor.diagnose(dsn=dsn, schema="sparkify")
    (found,) = [finding for finding in diagnosis.findings if finding.name == "tls"]
    return found


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("disable", "not encrypted"),
        ("require", "who answers is not verified (sslmode=require)"),
        ("verify-ca", "who answers is not verified (sslmode=verify-ca)"),
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
    sparkify_bulk.reload(logs=tree.log_folder, dsn=over_tls(encrypted, sslmode=mode))
    assert said in caplog.text
    assert "use sslmode=verify-full" in caplog.text
    found = tls(over_tls(encrypted, sslmode=mode))
    assert (found.status, said in found.found) == ("warning", True)
    assert "use sslmode=verify-full" in found.hint


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
        for words in (["reload"], ["load", "--rehash"], ["verify"]):
            done = subprocess.run(
                [sys.executable, "-m", "sparkify_bulk", *words, tree.root, "--dsn", dsn, "-v"],
                capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode in (0, 3), done.stderr
            shown.write(done.stderr.decode())
        CliRunner().invoke(cli.cli, ["rejects", "replay", "--dsn", dsn], standalone_mode=False)
        logged = (server.home / "log").read_text()
    assert "COPY" in logged
    assert PRIVATE not in logged
    assert PRIVATE not in shown.getvalue()
    assert "line" in shown.getvalue()


def test_nothing_in_the_package_speaks_to_the_network_but_libpq() -> None:
    """No telemetry: no module for it is imported anywhere."""
    known = {"http", "urllib.request", "requests", "httpx", "aiohttp", "smtplib", "ftplib", "ssl"}
    found = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    assert "psycopg" in found
    assert not {name for name in found if name in known or name.partition(".")[0] in known}


def test_a_function_that_stands_in_for_a_built_in_one_is_never_called(
    database: str, tree: Tree
) -> None:
    """Whoever may make functions in `public` can't run code as the loading role."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    with psycopg.connect(database, autocommit=True) as connection:
        for name, arguments, returned in (
            ("to_timestamp", "double precision", "timestamptz"),
            ("set_config", "text, text, boolean", "text"),
            ("current_setting", "text", "text"),
            ("hashtextextended", "text, integer", "bigint"),
        ):
            connection.execute(
                f"CREATE FUNCTION public.{name}({arguments}) RETURNS {returned} LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE 'called'; END $$"
            )
        connection.execute(
            "ALTER DATABASE " + connection.info.dbname + " SET search_path = public, pg_catalog"
        )
    for command in ("reload", "load", "reload"):
        getattr(sparkify_bulk, command)(tree.root, dsn=database)
