-- The statements that make plain views read the tables that replace the old ones: each recreates
-- a view with its current definition and options; its rights, owner, comment and dependents
-- stay. Temporary views belong to their sessions. Names in the definition are qualified unless
-- they are in the schema on the search path, which must be that of the old tables; run the
-- returned statements where the new tables come first.
-- Also returns why a view can't be recreated; NULL if it can.
SELECT
    v.oid::regclass::text AS view_name,
    CASE
        WHEN NOT pg_has_role(v.relowner, 'USAGE')
            THEN 'belongs to ' || quote_ident(pg_get_userbyid(v.relowner))
        WHEN NOT has_schema_privilege(v.relnamespace, 'CREATE')
            THEN 'is in a schema without CREATE for this role'
        WHEN EXISTS (
            SELECT
            FROM pg_attribute AS a
            INNER JOIN pg_type AS y ON a.atttypid = y.oid
            INNER JOIN pg_class AS t ON t.reltype IN (y.oid, y.typelem)
            INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
            WHERE a.attrelid = v.oid AND n.nspname = %(schema)s AND t.relname = ANY (%(tables)s)
        )
            THEN 'has a column of whole rows'
    END AS obstacle,
    format(
        'CREATE OR REPLACE VIEW %%I.%%I %%sAS %%s',
        w.nspname, v.relname,
        'WITH (' || array_to_string(v.reloptions, ', ') || ') ',
        pg_get_viewdef(v.oid)
    ) AS statement
FROM pg_class AS v
INNER JOIN pg_namespace AS w ON v.relnamespace = w.oid
WHERE v.relkind = 'v' AND v.relpersistence = 'p' AND v.oid IN (
    SELECT r.ev_class
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
    INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s)
)
ORDER BY view_name;
