-- Tells the log how tables, types and schemas look after each statement that changes them, at the
-- very place where it happened. Made by a superuser, as event triggers are (manual, "Event
-- Triggers"); without it capture sees columns come and go only when rows follow. Idempotent.
--
-- What is told is the state of an object before and after, not the statement: a statement may be one
-- of several in a string, or stand in a function, and says nothing of the names' schemas.

select pg_advisory_xact_lock(hashtext('articles_migrations'));

create schema if not exists lockstep;

-- The objects as they were told last.
create table if not exists lockstep.definitions (
    oid oid primary key,
    definition jsonb not null
);

create index if not exists definitions_of_partitions
    on lockstep.definitions ((definition -> 'partition_of'));

-- Publications that publish a table, by itself, by its schema or by what it is a partition of.
create or replace function lockstep.publications_of(relation oid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    names name[];
    schemas name[];
begin
    select array_agg(p.pubname) into names from pg_publication p
     where p.puballtables or exists (
        select from pg_publication_rel r
         where r.prpubid = p.oid
           and (r.prrelid = relation
                or r.prrelid in (select a.relid from pg_partition_ancestors(relation) a)));
    -- Since version 15.
    if to_regclass('pg_catalog.pg_publication_namespace') is not null then
        execute 'select array_agg(p.pubname) from pg_publication p
                   join pg_publication_namespace n on n.pnpubid = p.oid
                  where n.pnnspid = (select relnamespace from pg_class where oid = $1)'
           into schemas using relation;
    end if;
    return coalesce((select jsonb_agg(distinct n order by n)
                       from unnest(names || schemas) n), '[]');
end
$$;

-- A collation where it is not the one of its type.
create or replace function lockstep.collation_name(own oid, usual oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if own = usual then
        return null;
    end if;
    return (select quote_ident(n.nspname) || '.' || quote_ident(c.collname)
              from pg_collation c join pg_namespace n on n.oid = c.collnamespace
             where c.oid = own);
end
$$;

-- Its constants are written alike whatever the session prefers. In PL/pgSQL, which keeps the plan.
create or replace function lockstep.table_definition(relation oid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = 1
set bytea_output = 'hex' set quote_all_identifiers = off as $$
begin
    return (select jsonb_strip_nulls(jsonb_build_object(
    'object', 'table',
    'schema', n.nspname,
    'name', c.relname,
    'publications', lockstep.publications_of(c.oid),
    'identity', c.relreplident,
    'identity_index', (select ic.relname from pg_index i join pg_class ic on ic.oid = i.indexrelid
                        where i.indrelid = c.oid and i.indisreplident),
    'partition_key', pg_get_partkeydef(c.oid),
    'partition_of', (select jsonb_build_object('schema', pn.nspname, 'name', pc.relname)
                       from pg_inherits h join pg_class pc on pc.oid = h.inhparent
                       join pg_namespace pn on pn.oid = pc.relnamespace
                      where h.inhrelid = c.oid and c.relispartition),
    'partition_bound', pg_get_expr(c.relpartbound, c.oid),
    'columns', coalesce((
        select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'number', a.attnum,
            'name', a.attname,
            'type', format_type(a.atttypid, a.atttypmod),
            'collation', lockstep.collation_name(a.attcollation, t.typcollation),
            'not_null', a.attnotnull,
            'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', nullif(a.attgenerated, ''),
            'identity', nullif(a.attidentity, ''),
            -- What rows have that are older than the column.
            'missing', case when a.atthasmissing then (a.attmissingval::text::text[])[1] end
        )) order by a.attnum)
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
    'sequences', (
        select jsonb_agg(jsonb_build_object(
            'schema', sn.nspname, 'name', sc.relname, 'column', a.attname,
            'type', format_type(s.seqtypid, null), 'start', s.seqstart,
            'increment', s.seqincrement, 'min', s.seqmin, 'max', s.seqmax,
            'cache', s.seqcache, 'cycle', s.seqcycle) order by sc.relname)
          from pg_depend p
          join pg_class sc on sc.oid = p.objid and sc.relkind = 'S'
          join pg_namespace sn on sn.oid = sc.relnamespace
          join pg_sequence s on s.seqrelid = sc.oid
          join pg_attribute a on a.attrelid = p.refobjid and a.attnum = p.refobjsubid
         where p.classid = 'pg_class'::regclass and p.refclassid = 'pg_class'::regclass
           and p.refobjid = c.oid and p.deptype = 'a'),
    'constraints', coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', k.conname, 'kind', k.contype,
            'definition', pg_get_constraintdef(k.oid)) order by k.conname)
          from pg_constraint k
         where k.conrelid = c.oid and k.conparentid = 0 and k.conislocal
           and k.contype in ('c', 'f', 'p', 'u', 'x')), '[]'),
    'indexes', coalesce((
        select jsonb_agg(jsonb_build_object(
            'schema', n.nspname, 'name', ic.relname,
            'definition', regexp_replace(pg_get_indexdef(ic.oid), ' ON ONLY ', ' ON '))
            order by ic.relname)
          from pg_index i join pg_class ic on ic.oid = i.indexrelid
         where i.indrelid = c.oid and i.indisvalid and not ic.relispartition
           and not exists (select from pg_constraint k where k.conindid = ic.oid
                                                         and k.conrelid = c.oid)), '[]')))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.oid = relation and c.relkind in ('r', 'p') and c.relpersistence = 'p'
   and n.nspname not in ('lockstep', 'pg_catalog', 'information_schema')
   and n.nspname !~ '^pg_(temp|toast)');
end
$$;

drop function if exists lockstep.enum_definition(oid);

-- An enum, a domain or a composite type; of extensions' types the extension tells. As table_definition.
create or replace function lockstep.type_definition(type oid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = 1
set bytea_output = 'hex' set quote_all_identifiers = off as $$
begin
    return (select jsonb_strip_nulls(
        jsonb_build_object('schema', n.nspname, 'name', t.typname) || case t.typtype
        when 'e' then jsonb_build_object(
            'object', 'enum',
            'labels', coalesce((select jsonb_agg(e.enumlabel order by e.enumsortorder)
                                  from pg_enum e where e.enumtypid = t.oid), '[]'))
        when 'd' then jsonb_build_object(
            'object', 'domain',
            'type', format_type(t.typbasetype, t.typtypmod),
            'collation', lockstep.collation_name(t.typcollation, b.typcollation),
            'default', pg_get_expr(t.typdefaultbin, 0),
            'not_null', t.typnotnull,
            'constraints', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'name', k.conname, 'kind', k.contype,
                    'definition', pg_get_constraintdef(k.oid)) order by k.conname)
                  from pg_constraint k where k.contypid = t.oid and k.contype = 'c'), '[]'))
        else jsonb_build_object(
            'object', 'composite',
            'attributes', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'number', a.attnum, 'name', a.attname,
                    'type', format_type(a.atttypid, a.atttypmod),
                    'collation', lockstep.collation_name(a.attcollation, y.typcollation))
                    order by a.attnum)
                  from pg_attribute a join pg_type y on y.oid = a.atttypid
                 where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '[]'))
        end)
      from pg_type t join pg_namespace n on n.oid = t.typnamespace
      left join pg_type b on b.oid = t.typbasetype
      left join pg_class c on c.oid = t.typrelid
     where t.oid = type and (t.typtype in ('e', 'd') or c.relkind = 'c')
       and n.nspname not in ('lockstep', 'pg_catalog', 'information_schema')
       and n.nspname !~ '^pg_(temp|toast)'
       and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass
                                                 and d.objid = t.oid and d.deptype = 'e'));
end
$$;

create or replace function lockstep.schema_definition(namespace oid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
select jsonb_build_object('object', 'schema', 'name', n.nspname)
  from pg_namespace n
 where n.oid = namespace and n.nspname not in ('lockstep', 'public') and n.nspname !~ '^pg_'
$$;

-- Tells the log how an object is now, unless that was told.
create or replace function lockstep.tell(object oid, now jsonb, tag text, rewritten boolean)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    before jsonb;
    writer text;
begin
    select definition into before from lockstep.definitions d where d.oid = object;
    if before is not distinct from now and not rewritten or coalesce(before, now) is null then
        return;
    end if;
    insert into lockstep.definitions values (object, coalesce(now, before))
        on conflict (oid) do update set definition = excluded.definition;
    -- The subtransaction: of a message in a large transaction, pgoutput names only the one around it.
    select d.xmin into writer from lockstep.definitions d where d.oid = object;
    if now is null then
        delete from lockstep.definitions d where d.oid = object;
    end if;
    perform pg_logical_emit_message(true, 'lockstep.ddl', jsonb_strip_nulls(jsonb_build_object(
        'tag', tag, 'statement', left(current_query(), 16384), 'oid', object::int8,
        'xid', writer::int8, 'before', before, 'after', now, 'rewritten', rewritten))::text);
end
$$;

-- A table, with those whose shape or partitions follow from it.
create or replace function lockstep.tell_table(relation oid, tag text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one oid;
    rewritten text[] := string_to_array(current_setting('lockstep.rewritten', true), ',');
begin
    -- What others have from it follows it.
    for one in
        select o.oid from (
            select relation as oid, 0 as level
            union all
            select h.inhrelid, 1 from pg_inherits h where h.inhparent = relation
            union all
            select t.relid, t.level from pg_partition_tree(relation) t
            union all
            -- A partition that was detached is in no tree any more.
            select d.oid, 1 from lockstep.definitions d
             where d.definition -> 'partition_of' = (
                select jsonb_build_object('schema', n.nspname, 'name', c.relname)
                  from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where c.oid = relation)
        ) o group by o.oid order by min(o.level), o.oid
    loop
        perform lockstep.tell(one, lockstep.table_definition(one), tag,
                              exists (select from pg_partition_tree(one) t
                                       where t.relid::text = any (rewritten))
                              or one::text = any (coalesce(rewritten, '{}')));
    end loop;
end
$$;

create or replace function lockstep.on_ddl() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    command record;
    table_oid oid;
    type_oid oid;
begin
    for command in select * from pg_event_trigger_ddl_commands()
                    where not in_extension and schema_name is distinct from 'pg_temp' loop
        table_oid := null;
        type_oid := null;
        if command.classid = 'pg_namespace'::regclass then
            perform lockstep.tell(command.objid, lockstep.schema_definition(command.objid),
                                  tg_tag, false);
        elsif command.classid = 'pg_type'::regclass then
            type_oid := command.objid;
        elsif command.classid = 'pg_class'::regclass then
            -- Of a composite type, its attributes are those of a relation.
            select coalesce(i.indrelid, c.oid), case c.relkind when 'c' then c.reltype end
              into table_oid, type_oid
              from pg_class c left join pg_index i on i.indexrelid = c.oid
             where c.oid = command.objid;
        elsif command.classid = 'pg_constraint'::regclass then
            select k.conrelid, k.contypid into table_oid, type_oid
              from pg_constraint k where k.oid = command.objid;
        end if;
        if type_oid <> 0 then
            perform lockstep.tell(type_oid, lockstep.type_definition(type_oid), tg_tag, false);
        end if;
        if table_oid <> 0 then
            perform lockstep.tell_table(table_oid, tg_tag);
        end if;
    end loop;
    -- Renaming a schema or a type renames what is in it, or of it; a publication has many tables. Types
    -- follow on the other side by themselves.
    if tg_tag in ('ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN') then
        update lockstep.definitions d set definition = n.definition
          from (select oid, lockstep.type_definition(oid) as definition from lockstep.definitions
                 where definition ->> 'object' in ('enum', 'domain', 'composite')) n
         where n.oid = d.oid and n.definition <> d.definition;
    end if;
    if tg_tag ~ 'PUBLICATION' or tg_tag in ('ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN') then
        for table_oid in select d.oid from lockstep.definitions d
                          where d.definition ->> 'object' = 'table' order by d.oid loop
            perform lockstep.tell(table_oid, lockstep.table_definition(table_oid), tg_tag, false);
        end loop;
    end if;
    perform set_config('lockstep.rewritten', '', true);
end
$$;

-- Rows get other values without a word in the log: by a default that is not the same for all, or by
-- an expression that converts them. A plain cast does the same on the other side.
create or replace function lockstep.on_rewrite() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- 1: it was not logged until now; 2: a default; 4: another type.
    if pg_event_trigger_table_rewrite_reason() & 3 > 0
       or pg_event_trigger_table_rewrite_reason() & 4 > 0 and current_query() ~* '\yusing\y' then
        perform set_config('lockstep.rewritten', concat_ws(',',
            nullif(current_setting('lockstep.rewritten', true), ''),
            pg_event_trigger_table_rewrite_oid()::text), true);
    end if;
end
$$;

create or replace function lockstep.on_drop() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    dropped record;
    one oid;
begin
    -- Tables that refer to each other go in no order: first goes that they do.
    for dropped in
        select d.oid, jsonb_set(d.definition, '{constraints}', coalesce((
                   select jsonb_agg(k) from jsonb_array_elements(d.definition -> 'constraints') k
                    where k ->> 'kind' <> 'f'), '[]')) as definition
          from pg_event_trigger_dropped_objects() o join lockstep.definitions d on d.oid = o.objid
         where o.classid = 'pg_class'::regclass and o.objsubid = 0
           and d.definition -> 'constraints' @> '[{"kind": "f"}]'
           and 1 < (select count(*) from pg_event_trigger_dropped_objects() t
                     where t.object_type = 'table')
    loop
        perform lockstep.tell(dropped.oid, dropped.definition, tg_tag, false);
    end loop;
    for dropped in
        select o.*, d.definition from pg_event_trigger_dropped_objects() with ordinality o
          left join lockstep.definitions d
            on d.oid = o.objid and o.objsubid = 0
           and o.classid in ('pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
         where not o.is_temporary
         -- What depends on others goes before them, and is listed after them.
         order by case o.object_type when 'table' then 1 when 'type' then 2 when 'schema' then 3
                                     else 0 end, o.ordinality desc
    loop
        if dropped.definition is not null then
            perform lockstep.tell(dropped.objid, null, tg_tag, false);
        elsif dropped.object_type = 'index' then
            -- Of a table that is gone as well, the turn comes.
            for one in select d.oid from lockstep.definitions d join pg_class c on c.oid = d.oid
                        where d.definition -> 'indexes' @> jsonb_build_array(jsonb_build_object(
                            'schema', dropped.schema_name, 'name', dropped.object_name)) loop
                perform lockstep.tell_table(one, tg_tag);
            end loop;
        elsif dropped.object_type = 'domain constraint' then
            for one in select d.oid from lockstep.definitions d
                        where d.definition ->> 'object' = 'domain'
                          and exists (select from pg_type t where t.oid = d.oid) loop
                perform lockstep.tell(one, lockstep.type_definition(one), tg_tag, false);
            end loop;
        elsif dropped.object_type in ('table column', 'default value', 'table constraint') then
            select c.oid into one from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = dropped.address_names[1] and c.relname = dropped.address_names[2];
            -- Of a table that is there: of one that was dropped the table itself is told.
            if one is not null then
                perform lockstep.tell_table(one, tg_tag);
            end if;
        end if;
    end loop;
end
$$;

drop event trigger if exists lockstep_ddl;
create event trigger lockstep_ddl on ddl_command_end execute function lockstep.on_ddl();
drop event trigger if exists lockstep_rewrite;
create event trigger lockstep_rewrite on table_rewrite execute function lockstep.on_rewrite();
drop event trigger if exists lockstep_drop;
create event trigger lockstep_drop on sql_drop execute function lockstep.on_drop();

-- What is there already needs not be told.
delete from lockstep.definitions;
insert into lockstep.definitions
select o.oid, o.definition from (
    select c.oid, lockstep.table_definition(c.oid) as definition
      from pg_class c where c.relkind in ('r', 'p') and c.relpersistence = 'p'
    union all
    select t.oid, lockstep.type_definition(t.oid) from pg_type t
     where t.typtype in ('c', 'd', 'e')
    union all
    select n.oid, lockstep.schema_definition(n.oid) from pg_namespace n
) o where o.definition is not null;
