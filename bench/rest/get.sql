\set id random(1, :articles)
select id, title, content, author, category, tags, status, views_count, created_at, updated_at,
       published_at, version from articles where id = :id;
