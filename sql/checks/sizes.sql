-- The number of rows of each table of a star, by the server's own statistics: -1 where it has
-- none. The tables themselves aren't read.
SELECT t.relname, t.reltuples::bigint
FROM pg_catalog.pg_class AS t
INNER JOIN pg_catalog.pg_namespace AS n ON t.relnamespace = n.oid
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(tables)s)
    AND t.relkind IN ('r', 'p');
