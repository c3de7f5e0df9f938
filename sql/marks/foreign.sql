-- Objects in the ledger, staging and build schemas that the program didn't make: everything but
-- tables with its mark and a name that it uses. Sequences and the like belong to their tables.
-- Properties of a schema as a whole (default privileges, publications of it) are not objects in
-- it.
-- A table with the name of a ledger table comes with the statement that marks it: the ledger may
-- have been restored without comments, or its schema renamed, and marking it loses nothing.
WITH beside AS (
    SELECT
        t.oid,
        t.relname,
        n.nspname,
        t.relkind = 'r' AND t.relname ~ %(pattern)s AS named,
        coalesce(strpos(obj_description(t.oid, 'pg_class'), %(mark)s) > 0, false) AS marked
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = ANY (%(schemas)s)
)

SELECT
    pg_describe_object(d.classid, d.objid, 0) AS object,
    CASE
        WHEN b.named AND b.nspname = %(ledger)s AND b.relname = ANY (%(tables)s)
            THEN format('COMMENT ON TABLE %%I.%%I IS %%L;', b.nspname, b.relname, %(mark)s || 'restored')
    END AS statement
FROM pg_depend AS d
INNER JOIN pg_namespace AS n ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
LEFT JOIN beside AS b ON d.classid = 'pg_class'::regclass AND d.objid = b.oid
WHERE n.nspname = ANY (%(schemas)s)
    AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
    AND (b.named AND b.marked) IS NOT TRUE
    AND NOT EXISTS (
        SELECT
        FROM pg_depend AS s
        INNER JOIN beside AS owner ON s.refobjid = owner.oid
        WHERE s.refobjid <> s.objid
            AND s.classid = d.classid
            AND s.objid = d.objid
            AND s.refclassid = 'pg_class'::regclass
            AND s.deptype IN ('a', 'i')
    )
ORDER BY object;
