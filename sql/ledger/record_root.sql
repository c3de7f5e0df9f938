-- Put a folder on record where it isn't yet. Run under the lock: no other run does the same.
INSERT INTO roots (root)
SELECT %(root)s
WHERE NOT EXISTS (SELECT FROM roots AS known WHERE known.root = %(root)s);
