-- Forget the files of one kind and folder that are there again, or are on record no longer.
DELETE FROM vanished
WHERE kind = %(kind)s AND root_id = %(root_id)s AND file <> ALL (%(files)s::text[]);
