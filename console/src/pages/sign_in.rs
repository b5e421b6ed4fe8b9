//! Where people say who they are.

use maud::html;

use crate::frame::Page;
use crate::http::StatusCode;
use crate::sessions::SignInError;

/// `next` is where it leads.
pub(crate) fn sign_in(next: &str, error: Option<SignInError>) -> Page {
    let body = html! {
        @if let Some(error) = error {
            p.notice data-state="bad" role="alert" { "Not signed in: " (error) "." }
        }
        form.sign-in method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            label for="name" { "Name" }
            input #name name="name" autocomplete="username" required autofocus;
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button.main { "Sign in" }
        }
    };
    Page::about(StatusCode::OK, "Sign in", body)
}
