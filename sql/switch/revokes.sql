-- The statements that revoke all rights on some tables ('grant'), or on the sequences of their
-- identity columns ('sequence grant'), from all roles that have any, the owner included. Rights
-- on columns are never granted by default. Names are unqualified, of a schema on the search
-- path.
WITH relations AS (
    SELECT t.oid, 'grant' AS kind, 'TABLE' AS what, t.relname, t.relowner, t.relacl
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s)

    UNION ALL

    SELECT s.oid, 'sequence grant', 'SEQUENCE', s.relname, s.relowner, s.relacl
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
    INNER JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    WHERE n.nspname = %(schema)s
        AND t.relname = ANY (%(tables)s)
        AND s.relkind = 'S'
        AND d.deptype = 'i'
)

SELECT DISTINCT
    format(
        'REVOKE ALL ON %%s %%I FROM %%s CASCADE', r.what, r.relname,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM relations AS r
CROSS JOIN LATERAL aclexplode(
    coalesce(
        r.relacl, acldefault(CASE r.kind WHEN 'grant' THEN 'r'::"char" ELSE 's' END, r.relowner)
    )
) AS a
WHERE r.kind = %(kind)s
ORDER BY statement;
