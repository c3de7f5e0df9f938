-- Make the two roles that a star needs, and the schemas that the first one fills: one loads, and may
-- touch nothing else; one reads, also what reloads make. Run once, by an administrator, in the
-- star's database. How the roles log in (password, certificate, pg_hba.conf) is yours to say.
CREATE ROLE sparkify_loader LOGIN;
CREATE ROLE sparkify_analyst LOGIN;

CREATE SCHEMA sparkify AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_build AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_staging AUTHORIZATION sparkify_loader;
CREATE SCHEMA sparkify_ledger AUTHORIZATION sparkify_loader;

-- TEMPORARY lets merge statements see staging tables by their plain names.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO sparkify_loader', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO sparkify_analyst', current_database());
END $$;

GRANT USAGE ON SCHEMA sparkify TO sparkify_analyst;
-- Tables of a new star are made in the schema beside it.
ALTER DEFAULT PRIVILEGES FOR ROLE sparkify_loader IN SCHEMA sparkify_build
    GRANT SELECT ON TABLES TO sparkify_analyst;
