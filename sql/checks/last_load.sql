-- The run that changed the star last, and when that run began.
SELECT loaded_by_run, loaded_at
FROM last_load;
