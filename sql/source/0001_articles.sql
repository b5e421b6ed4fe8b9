-- The articles of the reference application. Limits are those of the REST API, which checks them
-- first to name the field; here they also hold for whoever writes by SQL.
create table articles (
    id bigint generated always as identity primary key,
    title text not null
        constraint articles_title_length check (char_length(title) between 1 and 200),
    content text not null
        constraint articles_content_length check (octet_length(content) <= 1048576),
    author text not null
        constraint articles_author_length check (char_length(author) between 1 and 100),
    category text
        constraint articles_category_length check (char_length(category) between 1 and 100),
    -- A check cannot look at each element: that each has 50 characters at most and stands once is
    -- the API's rule.
    tags text[] not null default '{}'
        constraint articles_tags_form check (
            cardinality(tags) <= 20
            and coalesce(array_ndims(tags), 1) = 1
            and array_position(tags, null) is null
            and '' <> all (tags)
            and char_length(array_to_string(tags, '')) <= 20 * 50
        ),
    status text not null default 'draft'
        constraint articles_status_known check (status in ('draft', 'published', 'archived')),
    views_count bigint not null default 0
        constraint articles_views_count_not_negative check (views_count >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    published_at timestamptz,
    version bigint not null default 1,
    -- An archived article keeps the time at which it was published, if it ever was.
    constraint articles_published_at_fits_status check (
        case status
            when 'draft' then published_at is null
            when 'published' then published_at is not null
            else true
        end
    )
);

-- The order of every list; the last two serve the filters, whose results are sorted after.
create index articles_by_age on articles (created_at desc, id desc);
create index articles_by_status on articles (status, created_at desc, id desc);
create index articles_by_author on articles (author);
create index articles_by_category on articles (category);

-- The version is the ETag, so an edit by SQL must raise it too. Counting views is no edit: the
-- trigger does not list that column.
create function articles_edited() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    new.updated_at := now();
    return new;
end
$$;

create trigger articles_edited
    before update of title, content, author, category, tags, status, published_at on articles
    for each row execute function articles_edited();
