-- Three streams of binary COPY: rows with nulls and empty values, no row, rows without columns.
-- (PGHOST, PGPORT and PGUSER say which server; psql's own output would be cut at zero bytes.)
\! psql -X -d postgres -c "copy (values (1, 'one'::text, null::bytea), (-1, '', '\\xff')) to stdout (format binary)" | xxd -p -c 0
\! psql -X -d postgres -c "copy (select 1 where false) to stdout (format binary)" | xxd -p -c 0
\! psql -X -d postgres -c "copy (select from generate_series(1, 3)) to stdout (format binary)" | xxd -p -c 0
