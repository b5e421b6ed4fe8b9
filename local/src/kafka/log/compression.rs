//! Records compressed as they are written: what a batch stands for is never in memory as a whole.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::decompression::SNAPPY_HEADER;
use crate::kafka::batch::Compression;

/// Takes what records are; gives what is stored of them.
pub(super) enum Compressor {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Snappy),
    Lz4(lz4::Encoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        let stored = Vec::new();
        Ok(match compression {
            Compression::None => Self::None(stored),
            Compression::Gzip => Self::Gzip(GzEncoder::new(stored, flate2::Compression::default())),
            Compression::Snappy => Self::Snappy(Snappy::new()),
            // Kafka's clients read blocks that know nothing of each other.
            Compression::Lz4 => Self::Lz4(
                lz4::EncoderBuilder::new()
                    .block_mode(lz4::BlockMode::Independent)
                    .build(stored)?,
            ),
            // 0 is zstd's own default.
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(stored, 0)?),
        })
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None(stored) => Ok(stored),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(snappy) => snappy.finish(),
            Self::Lz4(encoder) => {
                let (stored, ended) = encoder.finish();
                ended.map(|()| stored)
            }
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(stored) => stored.write(plain),
            Self::Gzip(encoder) => encoder.write(plain),
            Self::Snappy(snappy) => snappy.write(plain),
            Self::Lz4(encoder) => encoder.write(plain),
            Self::Zstd(encoder) => encoder.write(plain),
        }
    }

    /// Nobody reads what is stored before it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Snappy as snappy-java frames it: its header, then blocks with their lengths.
pub(super) struct Snappy {
    stored: Vec<u8>,
    /// What does not yet fill a block.
    block: Vec<u8>,
}

/// The magic, then the version and the oldest that can read it.
const HEADER: &[u8; SNAPPY_HEADER] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// As snappy-java cuts them.
const BLOCK: usize = 32 << 10;

impl Snappy {
    fn new() -> Self {
        Self {
            stored: HEADER.to_vec(),
            block: Vec::with_capacity(BLOCK),
        }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let stored = snap::raw::Encoder::new().compress_vec(&self.block)?;
        let length = u32::try_from(stored.len()).map_err(io::Error::other)?;
        self.stored.extend_from_slice(&length.to_be_bytes());
        self.stored.extend_from_slice(&stored);
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        Ok(self.stored)
    }
}

impl Write for Snappy {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let fits = plain.len().min(BLOCK - self.block.len());
        let (now, _) = plain.split_at_checked(fits).unwrap_or_default();
        self.block.extend_from_slice(now);
        if self.block.len() == BLOCK {
            self.end_block()?;
        }
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy as Framed, Zstd};

    use super::*;

    /// As another maker reads it.
    fn decompressed(compression: Compression, stored: Vec<u8>) -> Bytes {
        let mut stored = Bytes::from(stored);
        let take = |plain: &mut Bytes| Ok(plain.clone());
        match compression {
            Compression::None => Ok(stored),
            Compression::Gzip => Gzip::decompress(&mut stored, take),
            Compression::Snappy => Framed::decompress(&mut stored, take),
            Compression::Lz4 => Lz4::decompress(&mut stored, take),
            Compression::Zstd => Zstd::decompress(&mut stored, take),
        }
        .unwrap()
    }

    #[test]
    fn what_is_written_in_parts_is_read_as_a_whole() {
        let all = [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ];
        // Around the ends of blocks.
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let mut plain = BytesMut::new();
            plain.extend(b"some text, again and again ".iter().cycle().take(length));
            for compression in all {
                let mut compressor = Compressor::new(compression).unwrap();
                for part in plain.chunks(1000) {
                    compressor.write_all(part).unwrap();
                }
                let stored = compressor.finish().unwrap();
                assert!(
                    decompressed(compression, stored) == plain,
                    "{compression:?} {length}"
                );
            }
        }
    }
}
