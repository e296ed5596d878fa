-- Makes the partition of the month that `day` is in, where it is missing. A table of its name that is no partition, such
-- as one that was detached to be kept elsewhere, is left alone. The table is made apart and attached, which lets reads
-- and writes of the other months go on.
CREATE OR REPLACE FUNCTION audit_events_ensure_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month     date := make_date(extract(year FROM day)::int, extract(month FROM day)::int, 1);
    next      date := (month + interval '1 month')::date;
    base      text := 'audit_events_' || to_char(month, 'YYYY_MM');
    partition text := base;
    number    int  := 1;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_events partitions'));
    IF EXISTS (
        SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'audit_events'::regclass AND NOT inhdetachpending
            AND pg_get_expr(relpartbound, inhrelid) = format('FOR VALUES FROM (%L) TO (%L)', month, next)
    ) THEN
        RETURN;
    END IF;
    WHILE to_regclass(quote_ident(partition)) IS NOT NULL LOOP
        number := number + 1;
        partition := base || '_' || number;
    END LOOP;
    EXECUTE format('CREATE TABLE %I (LIKE audit_events INCLUDING ALL)', partition);
    EXECUTE format('ALTER TABLE audit_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, month, next);
END
$$;
