-- Settings that the session sets to another value than its role, database or connection string
-- does: the name, and the value that is overridden.
SELECT name, reset_val
FROM pg_settings
WHERE name = ANY (%(names)s) AND setting <> reset_val
ORDER BY name;
