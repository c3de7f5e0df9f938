"""The declaration of the star, and the DDL that says the same."""

import pytest
from trees import Tree, event, song

import sparkify_bulk
from sparkify_bulk import tables
from sparkify_bulk.connection import Connection

CONTRACT = {
    "songplays": "songplay_id start_time user_id level song_id artist_id session_id location"
    " user_agent item_in_session song_title artist_name duration",
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
