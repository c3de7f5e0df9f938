-- Forget the files of one kind that are there again, or are on record no longer.
DELETE FROM vanished
WHERE kind = %(kind)s AND file <> ALL (%(files)s::text[]);
