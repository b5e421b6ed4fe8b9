//! What people read on standard output.

use std::io::{self, IsTerminal, Write};

/// A line that is redrawn in place on a terminal, and printed now and then elsewhere.
#[derive(Debug)]
pub(crate) struct StatusLine {
    terminal: bool,
    shown: bool,
}

impl StatusLine {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            shown: false,
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn show(&mut self, text: &str) {
        if self.terminal {
            // Back to the first column, then erase what stood there.
            write(&format!("\r\x1b[2K{text}"));
            self.shown = true;
        } else {
            line(text);
        }
    }

    /// Leaves the line as it stands; what follows goes below it.
    pub(crate) fn finish(&mut self) {
        if self.shown {
            write("\n");
            self.shown = false;
        }
    }

    /// Erases the line.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            write("\r\x1b[2K");
            self.shown = false;
        }
    }
}

pub(crate) fn line(text: &str) {
    write(&format!("{text}\n"));
}

/// Clears a terminal, so that what comes next stands where the last report stood.
pub(crate) fn erase() {
    match io::stdout().is_terminal() {
        true => write("\x1b[H\x1b[2J"),
        false => write("\n"),
    }
}

/// A reader that has gone (`lockstep status | head -1`) is no reason to panic as `println!` would.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
