-- The relations in a schema that have the names of a star's tables: their kind, and their
-- columns, in order, with types.
SELECT
    t.relname,
    t.relkind::text,
    array_agg(c.attname::text ORDER BY c.attnum),
    array_agg(format_type(c.atttypid, c.atttypmod) ORDER BY c.attnum)
FROM pg_catalog.pg_class AS t
INNER JOIN pg_catalog.pg_namespace AS n ON t.relnamespace = n.oid
LEFT JOIN pg_catalog.pg_attribute AS c ON t.oid = c.attrelid AND c.attnum > 0 AND NOT c.attisdropped
WHERE n.nspname = %(star)s AND t.relname = ANY (%(tables)s)
GROUP BY t.relname, t.relkind;
