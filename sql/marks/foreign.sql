-- What stands in the schemas beside a star and isn't the product's: everything but tables that bear its
-- mark and a name of its own, and their sequences. What PostgreSQL keeps about a schema as a whole
-- (default privileges, publications of it) is no object in it.
WITH own AS (
    SELECT t.oid
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = ANY (%(schemas)s)
        AND t.relkind = 'r'
        AND t.relname ~ %(names)s
        AND strpos(obj_description(t.oid, 'pg_class'), %(mark)s) > 0
)
SELECT pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend AS d
INNER JOIN pg_namespace AS n ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
WHERE n.nspname = ANY (%(schemas)s)
    AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
    AND d.objid NOT IN (SELECT oid FROM own)
    AND NOT EXISTS (
        SELECT
        FROM pg_depend AS s
        WHERE s.classid = d.classid
            AND s.objid = d.objid
            AND s.refclassid = 'pg_class'::regclass
            AND s.refobjid IN (SELECT oid FROM own)
            AND s.deptype IN ('a', 'i')
    )
ORDER BY object;
