/// Why bytes could not be read. Names fields, kinds and lengths, never content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("{missing} bytes are missing at the end")]
    Truncated { missing: usize },
    #[error("{bytes} bytes are left over")]
    Leftover { bytes: usize },
    #[error("no zero byte ends the string")]
    UnterminatedString,
    #[error("a name is not UTF-8")]
    NotUtf8,
    #[error("kind {kind:#04x} of {what} is unknown")]
    UnknownKind { what: &'static str, kind: u8 },
    #[error("length {length} of {what} is out of range")]
    Length { what: &'static str, length: i64 },
    #[error("not a binary COPY stream")]
    NotBinaryCopy,
    #[error("binary COPY flags {flags:#010x} are not supported")]
    CopyFlags { flags: u32 },
    #[error("binary COPY data after its trailer")]
    AfterTrailer,
    #[error("binary COPY stream ends without its trailer")]
    NoTrailer,
}
