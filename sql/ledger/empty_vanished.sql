-- Forget all files that were gone: a reload reads the folders anew.
DELETE FROM vanished;
