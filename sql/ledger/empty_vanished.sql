-- Delete the records of all vanished files: a reload reads all folders from scratch.
DELETE FROM vanished;
