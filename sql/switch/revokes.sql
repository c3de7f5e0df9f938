-- The statements that take all rights on some tables, and on the sequences of their identity columns,
-- from everybody who has any, the owner too. Unqualified names, of a schema in sight.
WITH relations AS (
    SELECT t.oid, 'TABLE' AS what, t.relname, t.relowner, t.relacl
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s)
),

sequences AS (
    SELECT 'SEQUENCE' AS what, s.relname, s.relowner, s.relacl
    FROM relations AS t
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
    INNER JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    WHERE s.relkind = 'S' AND d.deptype = 'i'
),

rights AS (
    SELECT r.what, r.relname, a.grantee
    FROM relations AS r
    CROSS JOIN LATERAL aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) AS a

    UNION

    SELECT s.what, s.relname, a.grantee
    FROM sequences AS s
    CROSS JOIN LATERAL aclexplode(coalesce(s.relacl, acldefault('s', s.relowner))) AS a
)

SELECT
    format(
        'REVOKE ALL ON %%s %%I FROM %%s CASCADE', what, relname,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    ) AS statement
FROM rights
ORDER BY statement;
