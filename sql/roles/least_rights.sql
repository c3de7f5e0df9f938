-- Make the two roles that a star needs, and the schemas that the first one fills. One role loads
-- and can change nothing else; one reads, also the tables that reloads make. Run once, by an
-- administrator, in the star's database. Decide yourself how the roles log in (password,
-- certificate, pg_hba.conf).
CREATE ROLE sparkify_loader LOGIN;
CREATE ROLE sparkify_analyst LOGIN;

CREATE SCHEMA sparkify AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_build AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_staging AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_ledger AUTHORIZATION sparkify_loader;

-- TEMPORARY lets merge statements use staging tables by unqualified names.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO sparkify_loader', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO sparkify_analyst', current_database());
END $$;

GRANT USAGE ON SCHEMA sparkify TO sparkify_analyst;
-- A reload makes the new tables in the build schema.
ALTER DEFAULT PRIVILEGES FOR ROLE sparkify_loader IN SCHEMA sparkify_build
    GRANT SELECT ON TABLES TO sparkify_analyst;
