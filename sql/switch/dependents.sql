-- What hangs on the star's tables and could not follow them through a switch, by name: views and
-- materialised views, foreign keys of other tables, functions, triggers, policies and publications.
WITH star AS (
    SELECT t.oid
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(star)s AND t.relname = ANY (%(tables)s)
)
SELECT
    CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END
    || v.oid::regclass::text AS dependent
FROM pg_depend AS d
INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
INNER JOIN pg_class AS v ON r.ev_class = v.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM star)

UNION

SELECT 'foreign key ' || c.conname || ' of ' || c.conrelid::regclass::text
FROM pg_constraint AS c
WHERE c.contype = 'f'
    AND c.confrelid IN (SELECT oid FROM star)
    AND c.conrelid NOT IN (SELECT oid FROM star)

UNION

SELECT 'function ' || d.objid::regprocedure::text
FROM pg_depend AS d
WHERE d.classid = 'pg_proc'::regclass
    AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid IN (SELECT oid FROM star)

UNION

SELECT 'trigger ' || g.tgname || ' of ' || g.tgrelid::regclass::text
FROM pg_trigger AS g
WHERE NOT g.tgisinternal AND g.tgrelid IN (SELECT oid FROM star)

UNION

SELECT 'policy ' || p.polname || ' of ' || p.polrelid::regclass::text
FROM pg_policy AS p
WHERE p.polrelid IN (SELECT oid FROM star)

UNION

SELECT 'publication ' || p.pubname
FROM pg_publication_rel AS r
INNER JOIN pg_publication AS p ON r.prpubid = p.oid
WHERE r.prrelid IN (SELECT oid FROM star)

ORDER BY dependent;
