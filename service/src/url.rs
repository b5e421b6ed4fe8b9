//! URLs in messages.

/// The URL as people may read it: without the name and password that it may hold.
pub fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A password that is not escaped may hold an `@` of its own.
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn a_login_is_left_out_and_all_else_stays() {
        for (url, shown) in [
            (
                "http://ann:s3cret@host:8081/at/@x",
                "http://host:8081/at/@x",
            ),
            ("https://ann:s3@cret@host", "https://host"),
            ("http://host:8081", "http://host:8081"),
            ("http://[::1]:8081/?a=b@c", "http://[::1]:8081/?a=b@c"),
            ("host:8081", "host:8081"),
        ] {
            assert_eq!(without_login(url), shown, "{url}");
        }
    }
}
