-- What hangs on tables and could not follow them through a switch, by name: materialised views,
-- foreign keys of other tables, functions, columns of whole rows, triggers, policies, rules and
-- publications. Plain views follow: see views.sql.
WITH old AS (
    SELECT t.oid, t.reltype
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s)
)
SELECT 'materialized view ' || v.oid::regclass::text AS dependent
FROM pg_depend AS d
INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
INNER JOIN pg_class AS v ON r.ev_class = v.oid
WHERE d.refclassid = 'pg_class'::regclass
    AND d.refobjid IN (SELECT oid FROM old)
    AND v.relkind = 'm'

UNION

SELECT 'rule ' || r.rulename || ' of ' || r.ev_class::regclass::text
FROM pg_rewrite AS r
WHERE r.ev_class IN (SELECT oid FROM old)

UNION

SELECT 'foreign key ' || c.conname || ' of ' || c.conrelid::regclass::text
FROM pg_constraint AS c
WHERE c.contype = 'f'
    AND c.confrelid IN (SELECT oid FROM old)
    AND c.conrelid NOT IN (SELECT oid FROM old)

UNION

SELECT 'function ' || d.objid::regprocedure::text
FROM pg_depend AS d
WHERE d.classid = 'pg_proc'::regclass
    AND (
        (d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM old))
        OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT reltype FROM old))
    )

UNION

SELECT 'column ' || a.attname || ' of ' || a.attrelid::regclass::text
FROM pg_depend AS d
INNER JOIN pg_attribute AS a ON d.objid = a.attrelid AND d.objsubid = a.attnum
WHERE d.classid = 'pg_class'::regclass
    AND d.refclassid = 'pg_type'::regclass
    AND d.refobjid IN (SELECT reltype FROM old)

UNION

SELECT 'trigger ' || g.tgname || ' of ' || g.tgrelid::regclass::text
FROM pg_trigger AS g
WHERE NOT g.tgisinternal AND g.tgrelid IN (SELECT oid FROM old)

UNION

SELECT 'policy ' || p.polname || ' of ' || p.polrelid::regclass::text
FROM pg_policy AS p
WHERE p.polrelid IN (SELECT oid FROM old)

UNION

SELECT 'publication ' || p.pubname
FROM pg_publication_rel AS r
INNER JOIN pg_publication AS p ON r.prpubid = p.oid
WHERE r.prrelid IN (SELECT oid FROM old)

ORDER BY dependent;
