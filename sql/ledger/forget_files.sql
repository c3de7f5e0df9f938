-- Forget all files: the star is built anew, from the files of this run alone.
DELETE FROM files;
