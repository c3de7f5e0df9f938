"""Finished frames by ADBC, Arrow's own way into a database."""

import sys
from pathlib import Path

import psycopg
from _frames import read
from _star import constrain, make
from adbc_driver_postgresql import dbapi

from sparkify_bulk.tables import STAR


def main() -> None:
    """Do what the command line asks for; ADBC's connection can't share psycopg's transaction."""
    dsn, schema, data = sys.argv[1:]
    tables = read(Path(data))
    with psycopg.connect(dsn) as connection:
        make(connection, schema)
        connection.commit()
        with dbapi.connect(dsn) as adbc, adbc.cursor() as cursor:
            for table in STAR:
                frame = tables[table.name]
                cursor.adbc_ingest(table.name, frame, mode="append", db_schema_name=schema)
            adbc.commit()
        constrain(connection)


if __name__ == "__main__":
    main()
