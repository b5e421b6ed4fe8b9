//! What the stream brings between the watermarks of a chunk.

use std::collections::HashMap;

use change::envelope::Op;

use super::chunk::{Chunk, Repeat};
use super::watermark::Token;
use super::{ENTRY_BYTES, KEPT_BYTES_MAX};
use crate::control::Hidden;
use crate::encode::Step;
use crate::wire::{Column, Oid, Xid};

/// The window between the watermarks, and what changed in it.
#[derive(Debug)]
pub(crate) struct Window {
    token: Token,
    table: Oid,
    /// What the stream had brought before the low watermark, as far as readers may not see it. (What
    /// it brings in the window is kept in mind, seen or not.)
    before: Hidden,
    touched: HashMap<Vec<u8>, Touch>,
    bytes: usize,
    spoiled: Option<Repeat>,
}

/// What became of a key in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// The stream has the whole row, or it is gone.
    Whole,
    /// The stream has the values that changed, and the chunk those that did not.
    Part(Vec<Kept>),
}

/// A value of the stream that is kept beyond its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Unchanged,
    Null,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Window {
    pub(super) fn new(token: Token, table: Oid, before: Hidden) -> Self {
        Self {
            token,
            table,
            before,
            touched: HashMap::new(),
            bytes: 0,
            spoiled: None,
        }
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// The stream brings this transaction within the window.
    pub(super) fn begun(&mut self, xid: Xid) {
        self.before.remove(xid);
    }

    /// The table's columns or key are others from here on.
    pub(super) fn altered(&mut self, table: Oid) {
        if self.table == table {
            self.spoil(Repeat::Altered);
        }
    }

    /// The stream brings a change.
    pub(super) fn touch(&mut self, table: Oid, key: Option<&[u8]>, step: &Step<'_>) {
        if self.table != table || self.spoiled.is_some() {
            return;
        }
        let Some(key) = key.filter(|_| step.op != Op::Truncate) else {
            return self.spoil(Repeat::Truncated);
        };
        let news = Touch::of(step);
        self.bytes += news.bytes();
        match self.touched.get_mut(key) {
            Some(known) => known.follow(news),
            None => {
                self.bytes += key.len() + ENTRY_BYTES;
                self.touched.insert(key.to_vec(), news);
            }
        }
        if self.bytes > KEPT_BYTES_MAX {
            self.spoil(Repeat::Crowded);
        }
    }

    /// Why the chunk cannot be used, if so.
    pub(crate) fn refuses(&self, chunk: &Chunk) -> Option<Repeat> {
        let unseen = self.before.is_missed_by(&chunk.visibility);
        self.spoiled.or(unseen.then_some(Repeat::Unseen))
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.touched.is_empty()
    }

    /// What became of a row of the chunk.
    pub(crate) fn touch_of(&self, key: &[u8]) -> Option<&Touch> {
        self.touched.get(key)
    }

    fn spoil(&mut self, why: Repeat) {
        self.spoiled = Some(why);
        self.touched = HashMap::new();
    }
}

impl Touch {
    fn of(step: &Step<'_>) -> Self {
        match &step.after {
            Some(row) if row.contains(&Column::UnchangedToast) => {
                Self::Part(row.iter().map(Kept::of).collect())
            }
            Some(_) | None => Self::Whole,
        }
    }

    /// What both come to, one after the other.
    fn follow(&mut self, news: Self) {
        match (self, news) {
            // The rest of the row is in the stream already.
            (Self::Whole, Self::Whole | Self::Part(_)) => {}
            (known, Self::Whole) => *known = Self::Whole,
            (Self::Part(known), Self::Part(news)) => {
                let changed = known.iter_mut().zip(news);
                for (value, news) in changed.filter(|(_, news)| *news != Kept::Unchanged) {
                    *value = news;
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Part(values) => values.iter().map(Kept::bytes).sum(),
        }
    }
}

impl Kept {
    fn of(column: &Column<'_>) -> Self {
        match column {
            Column::UnchangedToast => Self::Unchanged,
            Column::Null => Self::Null,
            Column::Text(text) => Self::Text(text.to_vec()),
            Column::Binary(image) => Self::Binary(image.to_vec()),
        }
    }

    /// The value, or where there is none that of the chunk.
    pub(crate) fn over<'a>(&'a self, read: Column<'a>) -> Column<'a> {
        match self {
            Self::Unchanged => read,
            Self::Null => Column::Null,
            Self::Text(text) => Column::Text(text),
            Self::Binary(image) => Column::Binary(image),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Unchanged | Self::Null => 0,
                Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::catalog::Shape;
    use crate::control::Visibility;
    use crate::encode::truncation;
    use crate::resnapshot::Strays;
    use crate::wire::pgoutput::ReplicaIdentity;

    const TABLE: Oid = 7;
    const TOKEN: Token = Token {
        epoch: 1,
        request: 1,
        reading: 1,
    };

    fn window() -> Window {
        Window::new(TOKEN, TABLE, Hidden::default())
    }

    fn update(after: &[Column<'static>]) -> Step<'static> {
        Step {
            op: Op::Update,
            before: None,
            after: Some(after.to_vec()),
        }
    }

    fn delete() -> Step<'static> {
        Step {
            op: Op::Delete,
            before: Some(vec![Column::Binary(b"1")]),
            after: None,
        }
    }

    fn refusal(window: &Window, visibility: &str) -> Option<Repeat> {
        window.refuses(&Chunk {
            token: TOKEN,
            shape: Shape {
                oid: TABLE,
                table: change::TableName::new("s", "t"),
                identity: ReplicaIdentity::Default,
                columns: Vec::new(),
            },
            visibility: visibility.parse::<Visibility>().unwrap(),
            strays: Strays::Stay,
            is_last: false,
            data: Vec::new(),
            outcome: oneshot::channel().0,
        })
    }

    const NEW: Column<'static> = Column::Binary(b"new");
    const NEWER: Column<'static> = Column::Binary(b"newer");
    const SAME: Column<'static> = Column::UnchangedToast;

    #[test]
    fn only_changes_of_the_table_count() {
        let mut window = window();
        window.touch(TABLE + 1, Some(b"k"), &update(&[NEW]));
        assert!(window.is_untouched());
        window.touch(TABLE, Some(b"k"), &update(&[NEW]));
        assert_eq!(window.touch_of(b"k"), Some(&Touch::Whole));
        assert_eq!(window.touch_of(b"l"), None);
    }

    #[test]
    fn what_no_change_brought_comes_from_the_chunk() {
        let mut window = window();
        window.touch(TABLE, Some(b"k"), &update(&[NEW, SAME, SAME]));
        window.touch(TABLE, Some(b"k"), &update(&[NEWER, Column::Null, SAME]));
        let Some(Touch::Part(values)) = window.touch_of(b"k") else {
            panic!("the row is not whole");
        };
        let read = [
            Column::Binary(b"a"),
            Column::Binary(b"b"),
            Column::Binary(b"c"),
        ];
        let row: Vec<_> = values
            .iter()
            .zip(read)
            .map(|(it, read)| it.over(read))
            .collect();
        assert_eq!(row, [NEWER, Column::Null, Column::Binary(b"c")]);
    }

    #[test]
    fn once_the_stream_has_the_row_the_chunk_has_no_say() {
        for whole in [delete(), update(&[NEW, NEW])] {
            let mut window = window();
            window.touch(TABLE, Some(b"k"), &update(&[NEW, SAME]));
            window.touch(TABLE, Some(b"k"), &whole);
            window.touch(TABLE, Some(b"k"), &update(&[NEWER, SAME]));
            assert_eq!(window.touch_of(b"k"), Some(&Touch::Whole));
        }
    }

    #[test]
    fn a_chunk_is_refused_after_a_truncation_or_an_alteration() {
        assert_eq!(refusal(&window(), "9:9:"), None);
        let mut truncated = window();
        truncated.touch(TABLE, None, &truncation());
        assert_eq!(refusal(&truncated, "9:9:"), Some(Repeat::Truncated));
        let mut altered = window();
        altered.altered(TABLE + 1);
        assert_eq!(refusal(&altered, "9:9:"), None);
        altered.altered(TABLE);
        assert_eq!(refusal(&altered, "9:9:"), Some(Repeat::Altered));
    }

    #[test]
    fn a_chunk_is_refused_when_it_misses_what_came_before_the_window() {
        let mut hidden = Hidden::default();
        hidden.committed(Xid(5));
        let mut window = Window::new(TOKEN, TABLE, hidden);
        assert_eq!(refusal(&window, "6:6:"), None);
        assert_eq!(refusal(&window, "5:6:5"), Some(Repeat::Unseen));
        // Brought within the window, its keys are in mind.
        window.begun(Xid(5));
        assert_eq!(refusal(&window, "5:6:5"), None);
    }

    #[test]
    fn what_is_kept_in_mind_has_a_bound() {
        let mut window = window();
        let mut keys = 0_u32;
        while window.spoiled.is_none() {
            window.touch(TABLE, Some(&keys.to_be_bytes()), &update(&[NEW]));
            keys += 1;
        }
        assert!(keys > 100_000, "{keys}");
        assert_eq!(refusal(&window, "9:9:"), Some(Repeat::Crowded));
        assert!(window.touched.is_empty());
    }
}
