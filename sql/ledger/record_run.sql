-- Record a run as running; returns its run_id.
INSERT INTO runs (command, started_at, input, client_host, client_pid, client_user)
VALUES (%(command)s, %(started_at)s, %(input)s, %(client_host)s, %(client_pid)s, %(client_user)s)
RETURNING run_id;
