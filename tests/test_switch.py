"""A reload's switch lets readers be, and loses nothing that hangs on the star."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from crowd import READS, Crowd
from psycopg import sql
from servers import Server
from trees import Tree, event, lines, read_star, song

import sparkify_bulk
from sparkify_bulk import ledger, pipeline
from sparkify_bulk.database.connection import connect
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading import switch as switching
from sparkify_bulk.settings import Settings

# Seconds after which a switch that still hasn't come through fails its test.
PATIENCE_SECONDS = 60.0


@pytest.fixture
def star(populated: tuple[str, Tree], tree: Tree) -> str:
    """Return the connection string of a small star's database; its files are the tree's."""
    fill(tree)
    return populated[0]


def fill(tree: Tree) -> None:
    """Write what a small star is made of."""
    tree.songs("songs.json", *(song(number) for number in range(20)))
    tree.logs("events.json", *(event(number, userId=str(number % 7)) for number in range(200)))


def rebuild(star: str, tree: Tree, **options: Any) -> Any:
    """Reload the star."""
    options = {"switch_patience": PATIENCE_SECONDS, "retries": 0, "jobs": 1} | options
    return sparkify_bulk.reload(tree.root, dsn=star, **options)


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement; return its rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


# --- readers ------------------------------------------------------------------------------------


def test_no_read_fails_while_the_star_is_switched(
    star: str, tree: Tree, pytestconfig: pytest.Config
) -> None:
    """Readers of tables, views and views of views meet no deadlock and nothing that is gone."""
    least: int = pytestconfig.getoption("--reads")
    crowd = Crowd(star)
    crowd.make_views()
    reloads = 0
    with crowd:
        while crowd.done < least or reloads < least // 250:
            rebuild(star, tree)
            reloads += 1
            assert not crowd.failures
    assert not crowd.failures


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "reads",
    [READS[:1], READS[1:3], READS],
    ids=["one table", "two tables in both orders", "tables and views"],
)
def test_readers_that_leave_no_gap_are_waited_for_in_the_lock_queue(
    star: str, tree: Tree, reads: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four clients, each always in a query of 0.3 s, neither fail nor keep the star from switching.

    Without the queue the switch would have to meet all four between two queries.
    """
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.2)
    crowd = Crowd(star, readers=4, seconds=0.3, reads=reads)
    crowd.make_views()
    with crowd:
        for _ in range(3):
            assert rebuild(star, tree).status == "succeeded"
    assert not crowd.failures


def test_a_reader_that_holds_one_table_and_waits_for_another_goes_first(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has read songs comes to songplays while the switch queues: no deadlock."""
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.0)
    closing = switching.Gates.close
    turns: list[int] = []
    with psycopg.connect(star) as reader:
        reader.execute("SELECT count(*) FROM sparkify.songs")

        def close(gates: switching.Gates, *arguments: Any) -> None:
            closing(gates, *arguments)
            turns.append(1)
            if len(turns) == 1:
                reader.pgconn.send_query(b"SELECT count(*) FROM sparkify.songplays")
            elif len(turns) == 2:
                result = reader.pgconn.get_result()
                assert result
                assert result.error_message == b""
                assert result.get_value(0, 0) == b"200"
                while reader.pgconn.get_result():
                    pass
                reader.rollback()

        monkeypatch.setattr(switching.Gates, "close", close)
        assert rebuild(star, tree).status == "succeeded"
    assert len(turns) >= 2


def test_a_reader_of_a_view_that_waits_for_its_table_goes_first(star: str, tree: Tree) -> None:
    """The switch holds no table while it waits for a view: whoever has the view has it all."""
    query(star, "CREATE VIEW public.plays AS SELECT songplay_id FROM sparkify.songplays")
    with psycopg.connect(star) as reader:
        # What a read of the view holds before it comes to the table.
        reader.execute("COMMENT ON VIEW public.plays IS NULL")
        with pytest.raises(SparkifyBulkError, match="stayed in use"):
            rebuild(star, tree, switch_patience=1.5)
        assert reader.execute("SELECT count(*) FROM public.plays").fetchall() == [(200,)]
    rebuild(star, tree)


def test_a_view_made_while_the_tables_are_being_locked_sees_the_new_star(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs on the star is looked up again once nothing more can come."""
    look = switching._relations  # noqa: SLF001 - wrapped
    made: list[str] = []

    def look_late(*arguments: Any) -> Any:
        found = look(*arguments)
        if not made:
            query(star, "CREATE VIEW public.late AS SELECT count(*) FROM sparkify.songplays")
            made.append("late")
        return found

    tree.logs("more.json", event(500))
    monkeypatch.setattr(switching, "_relations", look_late)
    monkeypatch.setattr(switching, "_wait_for_upkeep", lambda *_: None)
    rebuild(star, tree)
    assert query(star, "SELECT * FROM public.late") == [(201,)]


def test_whoever_keeps_the_star_in_use_is_named(star: str, tree: Tree) -> None:
    """By process, role, application, time and the start of the query, without its values."""
    before = query(star, "SELECT user_id, last_name FROM sparkify.users ORDER BY user_id")
    with psycopg.connect(star, application_name="quarterly figures") as reader:
        reader.execute("SELECT count(*) FROM sparkify.users WHERE last_name <> 'secret'")
        with pytest.raises(SparkifyBulkError, match=r"in use for 0\.5 s") as caught:
            rebuild(star, tree, switch_patience=0.5)
        message = caught.value.message
        assert f"process {reader.info.backend_pid}" in message
        assert "user postgres, application quarterly figures, since 2" in message
        assert "SELECT count(*) FROM sparkify.users WHERE last_name <> …" in message
        assert "secret" not in message
        assert "--switch-patience" in caught.value.hint
        assert (
            query(star, "SELECT user_id, last_name FROM sparkify.users ORDER BY user_id") == before
        )
    rebuild(star, tree)


def test_no_more_connections_than_the_server_takes_are_needed_to_queue(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gates the switch waits in one queue after the other."""
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.0)
    monkeypatch.setattr(switching, "_MOST_GATES", 0)
    with Crowd(star, readers=2, seconds=0.05, reads=READS[:1]) as crowd:
        assert rebuild(star, tree).status == "succeeded"
    assert not crowd.failures


def test_a_snapshot_from_before_the_switch_sees_some_tables_full_and_others_empty(
    star: str, tree: Tree
) -> None:
    """As the documentation says; one that has read a table of the star keeps the switch waiting."""
    counts = "SELECT (SELECT count(*) FROM sparkify.{}), (SELECT count(*) FROM sparkify.{})"
    with psycopg.connect(star) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1")
        rebuild(star, tree)
        filled = reader.execute(counts.format("songplays", "time").encode()).fetchall()
        merged = reader.execute(counts.format("songs", "users").encode()).fetchall()
    assert filled == [(200, 200)]
    assert merged == [(0, 0)]
    assert query(star, counts.format("songs", "users")) == [(20, 7)]


# --- what hangs on the star ---------------------------------------------------------------------

ROLES = ("Keeper x", "analyst", "junior")
PLACE = "sparkify_place"
# What a reload carries over.
CARRIED = {
    "right": "GRANT SELECT, INSERT ON sparkify.songplays TO analyst WITH GRANT OPTION",
    "right of all": "GRANT SELECT ON sparkify.time TO PUBLIC",
    "right on columns": """
        GRANT SELECT (user_id, level), UPDATE (level) ON sparkify.users TO analyst""",
    "right on a column after one on the table was revoked": """
        GRANT SELECT ON sparkify.users TO analyst; REVOKE SELECT ON sparkify.users FROM analyst;
        GRANT SELECT (user_id, level) ON sparkify.users TO analyst""",
    "right passed on": """
        GRANT USAGE ON SCHEMA sparkify TO analyst, junior;
        GRANT SELECT ON sparkify.songs TO analyst WITH GRANT OPTION;
        SET ROLE analyst; GRANT SELECT ON sparkify.songs TO junior WITH GRANT OPTION;
        SET ROLE junior; GRANT SELECT ON sparkify.songs TO "Keeper x"; RESET ROLE""",
    "right on the sequence": """
        GRANT USAGE ON SEQUENCE sparkify.songplays_songplay_id_seq TO analyst""",
    "owner's own rights revoked": "REVOKE DELETE, TRUNCATE ON sparkify.artists FROM CURRENT_USER",
    "all rights revoked": "REVOKE ALL ON sparkify.artists FROM CURRENT_USER",
    "right on the ledger": "GRANT SELECT ON sparkify_ledger.files TO analyst",
    "default rights of all schemas": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "default rights of the star's schema": """
        ALTER DEFAULT PRIVILEGES IN SCHEMA sparkify GRANT SELECT ON TABLES TO analyst;
        ALTER DEFAULT PRIVILEGES IN SCHEMA sparkify GRANT USAGE ON SEQUENCES TO analyst""",
    "default rights of the build schema": """
        GRANT SELECT (user_id, level) ON sparkify.users TO analyst;
        ALTER DEFAULT PRIVILEGES IN SCHEMA sparkify_build GRANT ALL ON TABLES TO analyst, PUBLIC;
        ALTER DEFAULT PRIVILEGES IN SCHEMA sparkify_build GRANT ALL ON SEQUENCES TO analyst""",
    "default rights that lack some": """
        ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM postgres""",
    "owner": 'ALTER TABLE sparkify.songs OWNER TO "Keeper x"',
    "owner with rights given to others": """
        ALTER TABLE sparkify.songplays OWNER TO "Keeper x";
        GRANT SELECT ON sparkify.songplays TO analyst, postgres""",
    "row-level security": "ALTER TABLE sparkify.users ENABLE ROW LEVEL SECURITY",
    "forced row-level security": """
        ALTER TABLE sparkify.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY""",
    "comment on a table": "COMMENT ON TABLE sparkify.users IS 'it''s 100%'",
    "comment on a column": r"COMMENT ON COLUMN sparkify.users.level IS 'free or \paid'",
    "comment on a constraint": "COMMENT ON CONSTRAINT users_pkey ON sparkify.users IS 'the key'",
    "comment on an index": "COMMENT ON INDEX sparkify.songs_duration IS 'for claims'",
    "comment on the sequence": """
        COMMENT ON SEQUENCE sparkify.songplays_songplay_id_seq IS 'numbers'""",
    "storage parameter": """
        ALTER TABLE sparkify.users SET (fillfactor = 70, autovacuum_enabled = false)""",
    "storage parameter of long values": """
        ALTER TABLE sparkify.songs SET (toast.autovacuum_enabled = false)""",
    "tablespace": f"ALTER TABLE sparkify.songs SET TABLESPACE {PLACE}",
    "tablespace of an index": f"ALTER INDEX sparkify.songplays_pkey SET TABLESPACE {PLACE}",
    "replica identity": "ALTER TABLE sparkify.users REPLICA IDENTITY FULL",
    "replica identity by an index": """
        ALTER TABLE sparkify.songplays REPLICA IDENTITY USING INDEX songplays_natural_key""",
    "default": "ALTER TABLE sparkify.users ALTER COLUMN gender SET DEFAULT 'unknown'",
    "not null": "ALTER TABLE sparkify.users ALTER COLUMN gender SET NOT NULL",
    "not null by another name": """
        ALTER TABLE sparkify.users ADD CONSTRAINT known_gender CHECK (gender IS NOT NULL);
        ALTER TABLE sparkify.users ALTER COLUMN gender SET NOT NULL;
        DO $$ BEGIN IF current_setting('server_version_num')::integer >= 180000 THEN
            ALTER TABLE sparkify.users RENAME CONSTRAINT users_gender_not_null TO has_gender;
            COMMENT ON CONSTRAINT has_gender ON sparkify.users IS 'as they say';
        END IF; END $$""",
    "statistics target": "ALTER TABLE sparkify.users ALTER COLUMN level SET STATISTICS 500",
    "estimate": "ALTER TABLE sparkify.songplays ALTER COLUMN user_id SET (n_distinct = 7)",
    "storage of a column": "ALTER TABLE sparkify.songs ALTER COLUMN title SET STORAGE EXTERNAL",
    "compression": "ALTER TABLE sparkify.songs ALTER COLUMN title SET COMPRESSION pglz",
    "check": "ALTER TABLE sparkify.users ADD CONSTRAINT known CHECK (level IN ('free', 'paid'))",
    "check of new rows": "ALTER TABLE sparkify.users ADD CHECK (level <> 'free') NOT VALID",
    "unique constraint": 'ALTER TABLE sparkify.songs ADD CONSTRAINT "No 1" UNIQUE (title)',
    "exclusion constraint": "ALTER TABLE sparkify.songs ADD EXCLUDE USING hash (title WITH =)",
    "foreign key within the star": """
        ALTER TABLE sparkify.users ADD CONSTRAINT last FOREIGN KEY (last_start_time)
            REFERENCES sparkify.time DEFERRABLE INITIALLY DEFERRED""",
    "index": "CREATE INDEX who ON sparkify.songplays (user_id, start_time DESC) INCLUDE (level)",
    "index on an expression": """
        CREATE INDEX "By Title" ON sparkify.songs (lower(title)) WITH (fillfactor = 80)
            WHERE year > 1990;
        ALTER INDEX sparkify."By Title" ALTER COLUMN 1 SET STATISTICS 300;
        COMMENT ON INDEX sparkify."By Title" IS 'for search'""",
    "storage parameter of a key": """
        ALTER INDEX sparkify.songplays_natural_key SET (fillfactor = 70)""",
    "index on the ledger's files": "CREATE INDEX sizes ON sparkify_ledger.files (bytes)",
    "clustering": "ALTER TABLE sparkify.songplays CLUSTER ON songplays_pkey",
    "statistics": """
        CREATE STATISTICS sparkify.levels (dependencies) ON level, location FROM sparkify.songplays;
        ALTER STATISTICS sparkify.levels SET STATISTICS 200;
        ALTER STATISTICS sparkify.levels OWNER TO "Keeper x";
        COMMENT ON STATISTICS sparkify.levels IS 'they go together'""",
    "statistics elsewhere": "CREATE STATISTICS public.both ON gender, level FROM sparkify.users",
    "view": """
        CREATE VIEW public.names AS SELECT last_name FROM sparkify.users;
        CREATE VIEW public.names_of_names AS SELECT * FROM public.names""",
    "view that groups by a key": """
        CREATE VIEW public.often AS SELECT u.user_id, u.last_name, count(*) AS plays
            FROM sparkify.users AS u JOIN sparkify.songplays USING (user_id) GROUP BY u.user_id""",
    "publication of all tables": "CREATE PUBLICATION whole FOR ALL TABLES",
    "event trigger": """
        CREATE FUNCTION public.see() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION public.see()""",
}
# What it can't carry over, and how it is named.
REFUSED = {
    "column": ("ALTER TABLE sparkify.users ADD age integer", "users.age"),
    "type of a column": (
        "ALTER TABLE sparkify.songs ALTER COLUMN year TYPE bigint",
        "column year of songs, which was changed",
    ),
    "column of the ledger's files": (
        "ALTER TABLE sparkify_ledger.files ADD note text",
        "column note of files",
    ),
    "primary key of another name": (
        "ALTER TABLE sparkify.users RENAME CONSTRAINT users_pkey TO users_key",
        "constraint users_key of users",
    ),
    "natural key of another name": (
        "ALTER INDEX sparkify.songplays_natural_key RENAME TO no_play_twice",
        "constraint no_play_twice of songplays",
    ),
    "reference of another name": (
        """ALTER TABLE sparkify.songplays
            RENAME CONSTRAINT songplays_user_id_fkey TO known_user""",
        "constraint known_user of songplays",
    ),
    "index of another definition": (
        "DROP INDEX sparkify.songs_duration; CREATE INDEX songs_duration ON sparkify.songs (title)",
        "index songs_duration of songs, which was changed",
    ),
    "reference of another definition": (
        """ALTER TABLE sparkify.songs DROP CONSTRAINT songs_artist_id_fkey;
        ALTER TABLE sparkify.songs ADD CONSTRAINT songs_artist_id_fkey
            FOREIGN KEY (artist_id) REFERENCES sparkify.artists ON DELETE CASCADE""",
        "constraint songs_artist_id_fkey of songs, which was changed",
    ),
    "sequence": (
        "ALTER TABLE sparkify.songplays ALTER songplay_id SET INCREMENT BY 10",
        "sequence songplays_songplay_id_seq of songplays, which was changed",
    ),
    "foreign key out of the star": (
        """CREATE TABLE public.levels AS SELECT DISTINCT level FROM sparkify.users;
        ALTER TABLE public.levels ADD PRIMARY KEY (level);
        ALTER TABLE sparkify.users ADD CONSTRAINT known FOREIGN KEY (level) REFERENCES levels""",
        "foreign key known of users",
    ),
    "foreign key into the star": (
        "CREATE TABLE public.likes (song text CONSTRAINT liked REFERENCES sparkify.songs)",
        "foreign key liked of public.likes",
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW public.top AS SELECT * FROM sparkify.songs",
        "materialized view public.top",
    ),
    "materialized view of the ledger": (
        "CREATE MATERIALIZED VIEW public.seen AS SELECT file FROM sparkify_ledger.files",
        "materialized view public.seen",
    ),
    "view of whole rows": (
        "CREATE VIEW public.top AS SELECT p FROM sparkify.songplays AS p",
        "view public.top, which has a column of whole rows",
    ),
    "function of SQL": (
        """CREATE FUNCTION public.plays() RETURNS bigint LANGUAGE sql
            BEGIN ATOMIC SELECT count(*) FROM sparkify.songplays; END""",
        "function public.plays()",
    ),
    "function of rows": (
        """CREATE FUNCTION public.is_free(u sparkify.users) RETURNS boolean LANGUAGE sql
            AS $$ SELECT u.level = 'free' $$""",
        "function public.is_free(users)",
    ),
    "function that returns rows": (
        """CREATE FUNCTION public.few() RETURNS SETOF sparkify.users LANGUAGE sql
            AS 'SELECT * FROM sparkify.users LIMIT 1'""",
        "function public.few()",
    ),
    "column of rows": (
        "CREATE TABLE public.kept (play sparkify.songplays)",
        "column play of public.kept",
    ),
    "column of many rows": (
        "CREATE TABLE public.kept (plays sparkify.songplays[])",
        "column plays of public.kept",
    ),
    "domain of rows": ("CREATE DOMAIN public.person AS sparkify.users", "type public.person"),
    "trigger": (
        """CREATE TRIGGER watch BEFORE INSERT ON sparkify.users
            FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
        "trigger watch of users",
    ),
    "disabled check": (
        "ALTER TABLE sparkify.songs DISABLE TRIGGER ALL",
        "disabled checks of songs_artist_id_fkey on songs",
    ),
    "rule": (
        "CREATE RULE quiet AS ON DELETE TO sparkify.users DO INSTEAD NOTHING",
        "rule quiet of users",
    ),
    "rule of another table": (
        """CREATE TABLE public.mine (id bigint); CREATE RULE copy AS ON INSERT TO public.mine
            DO ALSO DELETE FROM sparkify.users WHERE user_id = NEW.id""",
        "rule copy of public.mine",
    ),
    "policy": ("CREATE POLICY own ON sparkify.users", "policy own of users"),
    "policy of another table": (
        """CREATE TABLE public.mine (id bigint); CREATE POLICY known ON public.mine
            USING (id IN (SELECT user_id FROM sparkify.users))""",
        "policy known on table public.mine",
    ),
    "publication": (
        "CREATE PUBLICATION plays FOR TABLE sparkify.songplays",
        "publication plays of songplays",
    ),
    "publication of the schema": (
        "CREATE PUBLICATION plays FOR TABLES IN SCHEMA sparkify",
        "publication plays of the schema of songplays",
    ),
    "child": (
        "CREATE TABLE public.more () INHERITS (sparkify.users)",
        "table public.more, which inherits from users",
    ),
    "parent": (
        """CREATE TABLE public.people (user_id bigint NOT NULL);
        ALTER TABLE sparkify.users INHERIT public.people""",
        "users, which inherits from public.people",
    ),
    "partition": (
        """CREATE TABLE public.all_artists (LIKE sparkify.artists) PARTITION BY LIST (artist_id);
        ALTER TABLE public.all_artists ATTACH PARTITION sparkify.artists DEFAULT""",
        "artists, which is a partition of public.all_artists",
    ),
    "type of the table": (
        """CREATE TYPE public.moment AS (start_time timestamptz, hour smallint, day smallint,
            week smallint, month smallint, year smallint, weekday smallint);
        ALTER TABLE sparkify.time OF public.moment""",
        "type public.moment of the table time",
    ),
    "extension": (
        "ALTER EXTENSION plpgsql ADD TABLE sparkify.users",
        "extension plpgsql, of which users is a part",
    ),
    "security label": (
        """INSERT INTO pg_seclabel
            VALUES ('sparkify.users'::regclass, 'pg_class'::regclass, 0, 'guard', 'secret')""",
        "security label by guard on table users",
    ),
    "sequence of a column": (
        "CREATE SEQUENCE sparkify.numbers OWNED BY sparkify.users.user_id",
        "sequence numbers",
    ),
    "default of another table": (
        """CREATE TABLE public.mine (
            id bigint DEFAULT nextval('sparkify.songplays_songplay_id_seq'))""",
        "default value for column id of table public.mine",
    ),
    "unlogged table": (
        "ALTER TABLE sparkify.songplays SET UNLOGGED",
        "unlogged storage of songplays",
    ),
}


@pytest.fixture(scope="module")
def pattern(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Tree]]:
    """Make a database with a star to copy, roles and a tablespace; return its name, and the files.

    A star for each kind of what may hang on one would take most of their tests' time.
    """
    make = "DO $$ BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN END $$"
    for role in ROLES:
        server.execute(sql.SQL(make).format(sql.Identifier(role)))
    tree = Tree(tmp_path_factory.mktemp("pattern"))
    name = "switch_pattern"
    server.create(name)
    dsn = server.dsn(name)
    fill(tree)
    sparkify_bulk.reload(tree.root, dsn=dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute(f"CREATE TABLESPACE {PLACE} LOCATION ''".encode())
    yield name, tree
    server.drop(name)
    server.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(PLACE)))


@pytest.fixture
def populated(server: Server, pattern: tuple[str, Tree]) -> Iterator[tuple[str, Tree]]:
    """Copy the star; return its connection string, and the files it is made of."""
    name = f"{pattern[0]}_copy"
    server.create(name, pattern[0])
    yield server.dsn(name), pattern[1]
    server.drop(name)


def hung(star: str) -> set[tuple[Any, ...]]:
    """Return all that hangs on the star, in words that don't depend on its tables' OIDs."""
    ledger = switching.Swap("sparkify_ledger", "", ("files",))
    with connect(star) as connection, connection.transaction():
        found = switching.attachments(connection, (ledger, switching.Swap("sparkify", "")))
    return {tuple(one) for one in found}


def oids(star: str) -> list[tuple[Any, ...]]:
    """Return the OIDs of the star's tables; the one that names the last run stays where it is."""
    return query(
        star,
        """SELECT oid FROM pg_class
        WHERE relnamespace = 'sparkify'::regnamespace AND relname !~ '^last_load' ORDER BY 1""",
    )


@pytest.mark.every(3)
@pytest.mark.parametrize("kind", CARRIED)
def test_what_hangs_on_the_star_is_carried_over(populated: tuple[str, Tree], kind: str) -> None:
    """It is the same after a reload, in every word of the catalogue, and nothing came to it."""
    star, tree = populated
    plain, before = hung(star), oids(star)
    query(star, CARRIED[kind])
    changed = hung(star)
    by_itself = ("default rights of all", "default rights of the star", "publication", "event")
    assert changed != plain or kind.startswith((*by_itself, "default rights that"))
    assert rebuild(star, tree).status == "succeeded"
    assert hung(star) == changed
    assert not set(oids(star)) & set(before)


@pytest.mark.every(4)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_carried_over_refuses_a_reload_by_name(
    populated: tuple[str, Tree], kind: str
) -> None:
    """The star, and what hangs on it, are untouched."""
    star, tree = populated
    statement, name = REFUSED[kind]
    query(star, statement)
    rows, before, tables = read_star(star), hung(star), oids(star)
    with pytest.raises(SparkifyBulkError) as caught:
        rebuild(star, tree)
    assert name in caught.value.message
    assert read_star(star) == rows
    assert hung(star) == before
    assert oids(star) == tables


def test_a_temporary_view_of_an_analyst_does_not_block_a_reload(
    star: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and dropped with the old tables; whoever made it isn't in the way while reading.

    The analyst owns nothing of the star, and the session goes on.
    """
    with psycopg.connect(star, autocommit=True) as analyst:
        for statement in (
            "CREATE TEMPORARY VIEW mine AS SELECT count(*) FROM sparkify.songplays",
            "CREATE TEMPORARY VIEW more AS SELECT * FROM mine",
            "CREATE TEMPORARY TABLE kept AS SELECT u AS who FROM sparkify.users AS u",
        ):
            analyst.execute(statement.encode())
        assert rebuild(star, tree).status == "succeeded"
        assert ".mine" in caplog.text
        assert "column who of pg_temp_" in caplog.text
        for name in ("mine", "more"):
            with pytest.raises(psycopg.errors.UndefinedTable):
                analyst.execute(f"SELECT * FROM {name}".encode())
        analyst.execute("CREATE TEMPORARY VIEW mine AS SELECT count(*) FROM sparkify.songplays")
        assert analyst.execute("SELECT * FROM mine").fetchall() == [(200,)]
    rebuild(star, tree)


def test_only_what_was_named_is_dropped(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What came while the run was under way ends it, with --drop-dependents, too."""
    query(star, "CREATE MATERIALIZED VIEW public.named AS SELECT * FROM sparkify.songs")
    query(star, "ALTER TABLE sparkify.users ADD CONSTRAINT own CHECK (level <> '')")
    query(star, "CREATE TABLE public.likes (song text CONSTRAINT liked REFERENCES sparkify.songs)")
    upkeep = switching._wait_for_upkeep  # noqa: SLF001 - wrapped

    def make_more(*arguments: Any) -> None:
        query(star, "CREATE MATERIALIZED VIEW public.late AS SELECT * FROM sparkify.songs")
        upkeep(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(switching, "_wait_for_upkeep", make_more)
        with pytest.raises(SparkifyBulkError, match=r"materialized view public\.late") as caught:
            rebuild(star, tree, drop_dependents=True)
    assert "public.named" not in caught.value.message
    assert query(star, "SELECT count(*) FROM public.named") == [(20,)]
    query(star, "DROP MATERIALIZED VIEW public.late")
    rebuild(star, tree, drop_dependents=True)
    assert "foreign key liked of public.likes, materialized view public.named" in caplog.text
    assert query(star, "SELECT to_regclass('public.named'), to_regclass('public.likes')") == [
        (None, "likes")
    ]
    assert ("own",) in query(star, "SELECT conname::text FROM pg_constraint")


def test_keys_that_were_renamed_get_their_own_names_again(star: str, tree: Tree) -> None:
    """With --drop-dependents, and what was set on the key and its index goes along."""
    query(star, "ALTER TABLE sparkify.users RENAME CONSTRAINT users_pkey TO users_key")
    query(star, "COMMENT ON CONSTRAINT users_key ON sparkify.users IS 'mine'")
    query(star, "ALTER INDEX sparkify.songplays_natural_key RENAME TO no_play_twice")
    query(star, "ALTER INDEX sparkify.no_play_twice SET (fillfactor = 50)")
    rebuild(star, tree, drop_dependents=True)
    keys = "SELECT conname::text FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid = {}"
    assert query(star, keys.format("'sparkify.users'::regclass")) == [("users_pkey",)]
    assert sorted(query(star, keys.format("'sparkify.songplays'::regclass"))) == [
        ("songplays_natural_key",),
        ("songplays_pkey",),
    ]


def test_a_constraint_that_the_files_violate_ends_a_reload(star: str, tree: Tree) -> None:
    """It is named, with what to do, and the star is untouched."""
    query(star, "ALTER TABLE sparkify.users ADD CONSTRAINT free CHECK (level = 'free')")
    tree.logs("paid.json", event(800, userId="90", level="paid"))
    with pytest.raises(SparkifyBulkError, match="constraint free of users can't be carried") as e:
        rebuild(star, tree)
    assert "untouched" in e.value.hint
    assert query(star, "SELECT count(*) FROM sparkify.songplays") == [(200,)]


def test_a_publication_of_all_tables_is_no_obstacle(star: str, tree: Tree) -> None:
    """Nothing is updated in, or deleted from, a table without a key, by any command."""
    query(star, "CREATE PUBLICATION whole FOR ALL TABLES")
    tree.logs("again.json", *(event(number, userId=str(number % 7)) for number in range(200)))
    tree.logs("bad.json", b"{", event(900))
    tree.songs("again.json", song(1, title="Another"))
    report = rebuild(star, tree)
    assert report.input.events.duplicates == 200
    tree.logs("bad.json", b"{", event(900), event(901, level="paid"))
    (tree.log_folder / "again.json").unlink()
    tree.songs("again.json", song(1, title="A third"))
    assert sparkify_bulk.load(tree.root, dsn=star).input.events.inserted == 1
    sparkify_bulk.load(tree.root, dsn=star)
    settings = Settings(tree.song_folder, tree.log_folder, dsn=star)
    ((reject,),) = query(star, "SELECT max(reject_id) FROM sparkify_ledger.rejects")
    repaired = {reject: lines(event(902))}
    assert pipeline.replay(settings, repaired=repaired).input.events.inserted == 1
    assert query(star, "SELECT count(*) FROM sparkify.songplays") == [(203,)]
    rebuild(star, tree)
    assert pipeline.verify(settings)[1] == []
    with connect(star) as connection:
        after_all = datetime.now(UTC) + timedelta(days=1)
        runs, rejects = ledger.prune(connection, "sparkify_ledger", after_all, dry=False)
    assert (runs > 0, rejects > 0) == (True, True)
