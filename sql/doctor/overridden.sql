-- Settings that a session has set otherwise than its role, database or connection string does: name
-- and the value that is passed over.
SELECT name, reset_val
FROM pg_settings
WHERE name = ANY (%(names)s) AND setting <> reset_val
ORDER BY name;
