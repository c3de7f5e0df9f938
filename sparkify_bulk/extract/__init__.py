"""From bytes to frames of records, and to rejects."""
