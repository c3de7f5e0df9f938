-- The number of a folder on record.
SELECT min(root_id) FROM roots WHERE root = %(root)s;
