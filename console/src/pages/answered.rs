//! What came of an action.

use maud::html;

use crate::actions::{Answer, Refusal};
use crate::frame::Page;
use crate::http::StatusCode;
use crate::widgets;

pub(crate) fn answered(answer: Answer) -> Page {
    match answer {
        Ok(outcome) => {
            let body = html! {
                div.notice data-state="good" role="status" {
                    p { strong { (outcome.changed) } }
                    @if !outcome.details.is_empty() {
                        dl {
                            @for (name, value) in &outcome.details { dt { (name) } dd { (value) } }
                        }
                    }
                }
                (widgets::command_line(&outcome.command))
                p { a href=(outcome.back) { "Back to where you were" } }
            };
            Page::about(StatusCode::OK, "Done", body)
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Page {
    let body = html! {
        div.notice data-state="bad" role="alert" { p { strong { (refusal) } } }
        p { "Nothing was changed by this request, unless the text above says so." }
    };
    Page::about(refusal.status(), "Not done", body)
}
