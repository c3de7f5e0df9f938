"""The declaration of the star, and the DDL that says the same."""

from typing import LiteralString

import pytest
from trees import Tree, event, song

import sparkify_bulk
from sparkify_bulk import tables
from sparkify_bulk.database.connection import Connection

CONTRACT = {
    "songplays": "songplay_id start_time user_id level song_id artist_id session_id location"
    " user_agent item_in_session event_song event_artist event_length",
    "users": "user_id first_name last_name gender level",
    "songs": "song_id title artist_id year duration",
    "artists": "artist_id name location latitude longitude",
    "time": "start_time hour day week month year weekday",
}


def test_the_contracts_columns_come_first_and_in_order() -> None:
    """Each table begins with the columns that users rely on."""
    declared = {
        table.name: " ".join(column.name for column in table.columns) for table in tables.STAR
    }
    assert declared == CONTRACT


@pytest.mark.parametrize("command", ["reload", "load"])
def test_the_declaration_is_what_the_server_has(
    connection: Connection, tree: Tree, command: str
) -> None:
    """Names, types, nullability and order of columns, and the keys, are as declared."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    getattr(sparkify_bulk, command)(tree.root, dsn=connection.info.dsn)
    for table in tables.STAR:
        found = connection.execute(
            """SELECT column_name, data_type, is_nullable = 'YES'
            FROM information_schema.columns
            WHERE table_schema = 'sparkify' AND table_name = %s ORDER BY ordinal_position""",
            (table.name,),
        ).fetchall()
        assert found == [
            (column.name, column.type, column.nullable) for column in table.all_columns
        ]
        keys = connection.execute(
            """SELECT contype::text, array_agg(a.attname::text ORDER BY k.place),
                confrelid::regclass::text
            FROM pg_constraint c
            CROSS JOIN LATERAL unnest(conkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
            WHERE conrelid = format('sparkify.%%I', %s::text)::regclass
            AND contype IN ('p', 'u', 'f') AND c.convalidated
            GROUP BY c.oid""",
            (table.name,),
        ).fetchall()
        expected = [("p", [table.primary_key], "-")]
        if table.natural_key != (table.primary_key,):
            expected.append(("u", list(table.natural_key), "-"))
        for column, other in table.references:
            expected.append(
                ("f", [column], f'sparkify."{other}"' if other == "time" else f"sparkify.{other}")
            )
        assert sorted(key[:2] for key in keys) == sorted(key[:2] for key in expected)
        assert sorted(key[2].replace('"', "") for key in keys) == sorted(
            key[2].replace('"', "") for key in expected
        )


def test_tables_are_merged_after_those_they_point_to() -> None:
    """The order of tables is one in which every reference points back."""
    seen: set[str] = set()
    for table in tables.STAR:
        assert {other for _, other in table.references} <= seen
        seen.add(table.name)


# What the tables of the classic star have in common, pair by pair.
CLASSIC_COMMON = {
    ("artists", "songplays"): {"artist_id", "location"},
    ("artists", "songs"): {"artist_id"},
    ("songplays", "songs"): {"artist_id", "song_id"},
    ("songplays", "time"): {"start_time"},
    ("songplays", "users"): {"level", "user_id"},
    ("songs", "time"): {"year"},
}


def test_any_two_tables_share_only_what_the_classic_star_shares(
    connection: Connection, tree: Tree
) -> None:
    """No further column name stands in two tables, so that classic joins stay unambiguous."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    sparkify_bulk.reload(tree.root, dsn=connection.info.dsn)
    rows = connection.execute(
        """SELECT a.table_name, b.table_name, array_agg(a.column_name::text)
        FROM information_schema.columns AS a
        JOIN information_schema.columns AS b USING (table_schema, column_name)
        WHERE table_schema = 'sparkify' AND a.table_name < b.table_name
        GROUP BY a.table_name, b.table_name"""
    )
    assert {(one, other): set(names) for one, other, names in rows} == CLASSIC_COMMON


@pytest.mark.every(4)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            """SELECT s.title AS song_title, a.name AS artist_name, count(*) FROM songplays p
            JOIN songs s USING (song_id) JOIN artists a ON a.artist_id = p.artist_id
            GROUP BY song_title, artist_name""",
            [("Title 1", "Artist 1", 1)],
        ),
        (
            """SELECT a.name AS artist_name, count(*) FROM songplays p
            JOIN artists a USING (artist_id) GROUP BY artist_name""",
            [("Artist 1", 1)],
        ),
        ("SELECT title, duration FROM songplays JOIN songs USING (song_id)", [("Title 1", 201.0)]),
        ("SELECT count(*) FROM songs NATURAL JOIN artists", [(3,)]),
    ],
)
def test_queries_written_for_the_classic_star_run_unchanged(
    connection: Connection, tree: Tree, query: LiteralString, expected: list[tuple[object]]
) -> None:
    """Aliases that classic queries choose are no column's name, and natural joins join all rows.

    Two of the three songs have one artist, so that an artist's row was described by one of them.
    """
    tree.songs("a.json", song(), song(2), song(3, artist_id="AR001", artist_name="Artist 1"))
    tree.logs("a.json", event())
    sparkify_bulk.reload(tree.root, dsn=connection.info.dsn)
    connection.execute("SET search_path = sparkify")
    assert connection.execute(query).fetchall() == expected
