-- The number of a recorded folder.
SELECT min(root_id) FROM roots WHERE root = %(root)s;
