-- The size of each table of a star, and values that change whenever rows are added or removed:
-- the table's oid, its file, and how many rows were ever inserted and deleted, which the server
-- counts without reading the table.
SELECT
    t.relname,
    pg_relation_size(t.oid) AS bytes,
    CASE WHEN current_setting('track_counts')::boolean THEN format(
        '%%s %%s %%s %%s', t.oid, pg_relation_filenode(t.oid),
        pg_stat_get_tuples_inserted(t.oid), pg_stat_get_tuples_deleted(t.oid)
    ) END AS state
FROM pg_class AS t
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
WHERE n.nspname = %(star)s AND t.relname = ANY (%(tables)s);
