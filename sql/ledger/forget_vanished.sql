-- Delete the records of vanished files of one kind and folder that exist again, or that the
-- ledger no longer has.
DELETE FROM vanished
WHERE kind = %(kind)s AND root_id = %(root_id)s AND file <> ALL (%(files)s::text[]);
