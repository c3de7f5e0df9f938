-- How many rows each table of a star holds, by the server's own statistics: -1 where it has none.
-- Nothing is read of the tables themselves.
SELECT t.relname, t.reltuples::bigint
FROM pg_catalog.pg_class AS t
INNER JOIN pg_catalog.pg_namespace AS n ON t.relnamespace = n.oid
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(tables)s)
    AND t.relkind IN ('r', 'p');
