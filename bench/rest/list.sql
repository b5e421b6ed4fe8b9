\set offset random(0, 99) * 10
select count(*) from articles;
select id, title, content, author, category, tags, status, views_count, created_at, updated_at,
       published_at, version from articles order by created_at desc, id desc limit 10 offset :offset;
