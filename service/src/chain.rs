//! An error with its causes on one line.

use std::error::Error;

/// Renders an error and every cause below it: `connect to DB1: resolve host: no such name`.
///
/// Errors here say their own step and leave the cause to `source`, so whoever logs one joins them.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let step = error.to_string();
        // Some foreign errors already repeat their cause in their own text.
        if !text.ends_with(&step) {
            text.push_str(": ");
            text.push_str(&step);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Step {
        #[error("read the file")]
        Read(#[source] io::Error),
        #[error("load settings")]
        Load(#[source] Box<Step>),
    }

    #[test]
    fn every_cause_is_named_once() {
        let error = Step::Load(Box::new(Step::Read(io::Error::other("disk on fire"))));
        assert_eq!(chain(&error), "load settings: read the file: disk on fire");
    }
}
