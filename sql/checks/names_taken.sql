-- Objects in a star's schema that don't belong to the star's tables, but have a name that the
-- star's indexes, sequences or row types need.
WITH star AS (
    SELECT t.oid
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(star)s AND t.relname = ANY (%(tables)s)
)

SELECT pg_describe_object('pg_class'::regclass, t.oid, 0) AS object
FROM pg_class AS t
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
LEFT JOIN pg_index AS i ON t.oid = i.indexrelid
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(needed)s)
    AND (i.indrelid IS NULL OR i.indrelid NOT IN (SELECT oid FROM star))
    AND NOT EXISTS (
        SELECT
        FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass
            AND d.objid = t.oid
            AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid IN (SELECT oid FROM star)
    )

UNION

SELECT pg_describe_object('pg_type'::regclass, y.oid, 0)
FROM pg_type AS y
INNER JOIN pg_namespace AS n ON y.typnamespace = n.oid
WHERE n.nspname = %(star)s AND y.typname = ANY (%(tables)s) AND y.typrelid = 0

ORDER BY object;
