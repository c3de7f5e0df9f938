-- What outside the star hangs on its tables and could not follow them through a switch: views,
-- materialised views, rules and foreign keys of other tables. One row each, by name.
SELECT DISTINCT
    CASE
        WHEN d.classid = 'pg_rewrite'::regclass
            THEN CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END
                || v.oid::regclass::text
        ELSE 'foreign key ' || c.conname || ' of ' || c.conrelid::regclass::text
    END AS dependent
FROM pg_depend AS d
INNER JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
LEFT JOIN pg_class AS v ON r.ev_class = v.oid
LEFT JOIN pg_constraint AS c
    ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid AND c.contype = 'f'
WHERE n.nspname = %(star)s
    AND t.relname = ANY (%(tables)s)
    AND (
        v.oid <> t.oid
        OR (c.confrelid = t.oid AND NOT (
            c.connamespace = n.oid
            AND c.conrelid IN (
                SELECT own.oid FROM pg_class AS own
                WHERE own.relnamespace = n.oid AND own.relname = ANY (%(tables)s)
            )
        ))
    )
ORDER BY dependent;
