-- What the search of the articles looks through. A replica runs this file too, on tables that it
-- has already and perhaps more than once: each statement may be repeated.

-- Titles weigh most, then authors and tags, then the text. `immutable`, so that an index can hold
-- it: the configuration is named in full, and of the elements of a text[] nothing depends on
-- settings. Of the text only the first 100,000 characters count: a tsvector has 1 MiB at most, and
-- where one character becomes ten bytes of it (short words, each different, joined by hyphens), an
-- article within its limits would fail to be written.
--
-- The cost is what a text of some kilobytes takes: with the one of any function, the planner would read
-- the whole table for a frequent word, rather than the index.
create or replace function articles_document(title text, content text, author text, tags text[])
returns tsvector language sql immutable parallel safe cost 5000
return setweight(to_tsvector('pg_catalog.english', title), 'A')
    || setweight(to_tsvector('pg_catalog.english', author), 'B')
    || setweight(to_tsvector('pg_catalog.english', array_to_string(tags, ' ')), 'B')
    || setweight(to_tsvector('pg_catalog.english', left(content, 100000)), 'D');

create index if not exists articles_by_word on articles
    using gin (articles_document(title, content, author, tags));
