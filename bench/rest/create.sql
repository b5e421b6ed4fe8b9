insert into articles (title, content, author, tags, status)
values ('Written under load', repeat('The quick brown fox jumps over the lazy dog. ', 20), 'pgbench',
        '{load}', 'draft')
returning id, title, content, author, category, tags, status, views_count, created_at, updated_at,
          published_at, version;
