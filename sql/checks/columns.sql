-- The columns, in order, of those tables of a star that a schema holds.
SELECT t.relname, array_agg(c.attname::text ORDER BY c.attnum)
FROM pg_catalog.pg_class AS t
INNER JOIN pg_catalog.pg_namespace AS n ON t.relnamespace = n.oid
INNER JOIN pg_catalog.pg_attribute AS c ON t.oid = c.attrelid
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(tables)s)
    AND c.attnum > 0
    AND NOT c.attisdropped
GROUP BY t.relname;
