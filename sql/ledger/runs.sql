-- Ledger: one row per run, written when it starts and completed in the transaction that
-- publishes its data. status: running, succeeded, succeeded_with_rejects, failed.
-- table_states: the state of the star's tables when the run had ended, as checks/table_states
-- describes it.
CREATE TABLE IF NOT EXISTS runs (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command      text NOT NULL,
    status       text NOT NULL DEFAULT 'running',
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    input        text NOT NULL,
    client_host  text NOT NULL,
    client_pid   bigint NOT NULL,
    client_user  text NOT NULL,
    exit_code    integer,
    error        text,
    report       jsonb,
    table_states jsonb
);
