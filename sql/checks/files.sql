-- How many files are on record.
SELECT count(*) FROM files;
