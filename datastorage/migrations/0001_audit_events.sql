-- One row for each event. A partitioned table can only keep values unique together with the column that
-- it is partitioned by, so that audit_event_ids is what makes an event_id unique: a repeat is accepted
-- once, even if it comes with another timestamp that belongs to another month.
CREATE TABLE audit_event_ids (
    event_id        uuid PRIMARY KEY,
    event_timestamp timestamptz NOT NULL
);

CREATE TABLE audit_events (
    event_id        uuid NOT NULL,
    event_date      date NOT NULL,
    event_timestamp timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    version         text NOT NULL,
    event_type      text NOT NULL,
    event_category  text NOT NULL,
    event_action    text NOT NULL,
    event_outcome   text NOT NULL,
    correlation_id  text NOT NULL,
    event_data      jsonb NOT NULL,
    actor_type      text,
    actor_id        text,
    resource_type   text,
    resource_id     text,
    namespace       text,
    severity        text,
    duration_ms     bigint,
    parent_event_id uuid,
    PRIMARY KEY (event_id, event_date),
    CONSTRAINT audit_events_date_is_that_of_the_timestamp
        CHECK (event_date = (event_timestamp AT TIME ZONE 'UTC')::date)
) PARTITION BY RANGE (event_date);

CREATE INDEX audit_events_timestamp ON audit_events (event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_correlation ON audit_events (correlation_id, event_timestamp DESC);
CREATE INDEX audit_events_type ON audit_events (event_type, event_timestamp DESC);
-- Answers containment (event_data @> '{…}') at about half the size and the cost to write of jsonb_ops.
CREATE INDEX audit_events_data ON audit_events USING gin (event_data jsonb_path_ops);

-- Makes the partition of the month that `day` is in, where it is missing. The table is made apart and
-- attached, which lets reads and writes of the other months go on.
CREATE FUNCTION audit_events_ensure_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month     date := make_date(extract(year FROM day)::int, extract(month FROM day)::int, 1);
    partition text := 'audit_events_' || to_char(month, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_events partitions'));
    IF EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = 'audit_events'::regclass AND inhrelid = to_regclass(quote_ident(partition))
    ) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE audit_events INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE audit_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   partition, month, (month + interval '1 month')::date);
END
$$;
