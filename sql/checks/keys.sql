-- The columns of each valid unique key of a star's tables.
SELECT t.relname, array_agg(c.attname::text ORDER BY k.place)
FROM pg_catalog.pg_index AS i
INNER JOIN pg_catalog.pg_class AS t ON i.indrelid = t.oid
INNER JOIN pg_catalog.pg_namespace AS n ON t.relnamespace = n.oid
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place)
INNER JOIN pg_catalog.pg_attribute AS c ON t.oid = c.attrelid AND k.number = c.attnum
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(tables)s)
    AND i.indisunique
    AND i.indisvalid
    AND i.indimmediate
    AND i.indpred IS NULL
    AND k.place <= i.indnkeyatts
GROUP BY t.relname, i.indexrelid;
