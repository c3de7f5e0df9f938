-- What a switch locks before it changes anything, in the order in which most readers use it:
-- first views that name one of the tables, those on top of others first; then the tables; then
-- the sequences of their identity columns. Each has a statement that changes nothing but takes
-- an ACCESS EXCLUSIVE lock on this relation only: LOCK TABLE on a view would also lock all that
-- the view names, in any schema, and it can't lock sequences. Views of other roles are left out,
-- since they can't be changed.
-- `claim` takes SHARE UPDATE EXCLUSIVE on a view in the same way; tables are claimed by another
-- statement.
-- A view is listed once for each level of views between it and a table.
WITH RECURSIVE old AS (
    SELECT t.oid, t.relname, t.relowner, t.relnamespace, o.place
    FROM unnest(%(schemas)s::text[], %(tables)s::text[]) WITH ORDINALITY AS o (schema, name, place)
    INNER JOIN pg_namespace AS n ON o.schema = n.nspname
    INNER JOIN pg_class AS t ON n.oid = t.relnamespace AND o.name = t.relname
    WHERE t.relkind = 'r'
),

-- A view stands once for each height at which it stands over a table.
above AS (
    SELECT oid, 0 AS height
    FROM old

    UNION

    SELECT v.oid, b.height + 1
    FROM above AS b
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND b.oid = d.refobjid
    INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    INNER JOIN pg_class AS v ON r.ev_class = v.oid AND v.oid <> b.oid
    WHERE v.relkind = 'v'
),

named AS (
    SELECT r.ev_class AS oid
    FROM pg_depend AS d
    INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM old)
)

SELECT oid, statement, claim
FROM (
    SELECT
        v.oid, 1 AS kind, -max(b.height) AS place,
        format(
            'ALTER VIEW %%I.%%I OWNER TO %%I',
            n.nspname, v.relname, pg_get_userbyid(v.relowner)
        ) AS statement,
        format(
            'COMMENT ON VIEW %%I.%%I IS %%L',
            n.nspname, v.relname, obj_description(v.oid, 'pg_class')
        ) AS claim
    FROM above AS b
    INNER JOIN pg_class AS v ON b.oid = v.oid
    INNER JOIN pg_namespace AS n ON v.relnamespace = n.oid
    WHERE v.relkind = 'v'
        AND v.relpersistence = 'p'
        AND v.oid IN (SELECT oid FROM named)
        AND pg_has_role(v.relowner, 'USAGE')
    GROUP BY v.oid, n.nspname, v.relname, v.relowner

    UNION ALL

    SELECT
        t.oid, 2, -t.place,
        format(
            'ALTER TABLE %%I.%%I OWNER TO %%I', n.nspname, t.relname, pg_get_userbyid(t.relowner)
        ),
        NULL
    FROM old AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid

    UNION ALL

    SELECT
        s.oid, 3, -t.place,
        format('ALTER SEQUENCE %%I.%%I SET LOGGED', n.nspname, s.relname),
        NULL
    FROM old AS t
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
    INNER JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    INNER JOIN pg_namespace AS n ON s.relnamespace = n.oid
    WHERE s.relkind = 'S' AND d.deptype = 'i'
) AS locked
ORDER BY kind, place, oid;
