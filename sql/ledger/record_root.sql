-- Record a folder if it isn't recorded yet. Run under the star's lock, so that no other run does
-- the same.
INSERT INTO roots (root)
SELECT %(root)s
WHERE NOT EXISTS (SELECT FROM roots AS known WHERE known.root = %(root)s);
