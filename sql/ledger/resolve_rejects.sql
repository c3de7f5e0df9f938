-- Mark rejects as resolved by a run.
UPDATE rejects
SET settled_by = %(run_id)s
WHERE reject_id = ANY (%(reject_ids)s);
