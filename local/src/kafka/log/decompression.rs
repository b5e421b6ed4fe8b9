//! The records of a batch, decompressed as they are read, and no further than a bound: a batch of
//! some kilobytes may stand for gigabytes.

use std::io::{self, BufReader, Read};

use crate::kafka::batch::Compression;

/// Of one batch. What clients compress is bounded by their largest batch, which is far below.
const DECOMPRESSED_MAX: u64 = 128 << 20;

/// Held of a batch at one time, beside what its decompressor needs.
const BUFFER: usize = 16 << 10;

/// Reads what a batch's records are. Beyond the bound there is an error, not an end.
pub(super) fn decompress(
    compression: Compression,
    stored: &[u8],
) -> io::Result<BufReader<Box<dyn Read + '_>>> {
    let plain: Box<dyn Read> = match compression {
        Compression::None => Box::new(stored),
        Compression::Gzip => Box::new(flate2::read::GzDecoder::new(stored)),
        Compression::Snappy => Box::new(Snappy::new(stored)),
        Compression::Lz4 => Box::new(lz4::Decoder::new(stored)?),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stored)?),
    };
    let bounded = Box::new(Bounded {
        plain,
        left: DECOMPRESSED_MAX,
    });
    Ok(BufReader::with_capacity(BUFFER, bounded))
}

struct Bounded<'a> {
    plain: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(into)?;
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| invalid("a batch decompresses to too much"))?;
        Ok(read)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Snappy as snappy-java frames it: a header, then blocks with their lengths. Without the header all
/// is one block, as some clients send it.
struct Snappy<'a> {
    stored: &'a [u8],
    framed: bool,
    block: io::Cursor<Vec<u8>>,
}

/// The magic of snappy-java's `SnappyCodec`; two versions follow, of four bytes each.
const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\0";
pub(super) const SNAPPY_HEADER: usize = 16;
/// A block becomes at most so many times its length: three bytes copy 64.
const SNAPPY_RATIO_MAX: usize = 22;

impl<'a> Snappy<'a> {
    fn new(stored: &'a [u8]) -> Self {
        let framed = stored.starts_with(SNAPPY_MAGIC);
        let header = if framed { SNAPPY_HEADER } else { 0 };
        Self {
            stored: stored.get(header..).unwrap_or_default(),
            framed,
            block: io::Cursor::default(),
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let mut length = self.stored.len();
        if self.framed {
            let (announced, rest) = self
                .stored
                .split_first_chunk()
                .ok_or_else(|| invalid("a snappy block has no length"))?;
            self.stored = rest;
            length = usize::try_from(u32::from_be_bytes(*announced)).unwrap_or(usize::MAX);
        }
        let (block, rest) = self
            .stored
            .split_at_checked(length)
            .ok_or_else(|| invalid("a snappy block is cut short"))?;
        self.stored = rest;
        // The decompressor takes the announced length at once.
        if snap::raw::decompress_len(block)? > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(invalid("a snappy block announces more than it can hold"));
        }
        self.block = io::Cursor::new(snap::raw::Decoder::new().decompress_vec(block)?);
        Ok(())
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(into)?;
            if read > 0 || into.is_empty() || self.stored.is_empty() {
                return Ok(read);
            }
            self.next_block()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy as Framed, Zstd};

    use super::*;

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    fn compressed(compression: Compression, plain: &[u8]) -> Vec<u8> {
        let mut into = BytesMut::new();
        let write = |into: &mut BytesMut| {
            into.extend_from_slice(plain);
            Ok(())
        };
        match compression {
            Compression::None => return plain.to_vec(),
            Compression::Gzip => Gzip::compress(&mut into, write),
            Compression::Snappy => Framed::compress(&mut into, write),
            Compression::Lz4 => Lz4::compress(&mut into, write),
            Compression::Zstd => Zstd::compress(&mut into, write),
        }
        .unwrap();
        into.to_vec()
    }

    fn read(compression: Compression, stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decompress(compression, stored)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn what_was_compressed_is_read() {
        let plain = b"some text, again and again ".repeat(10_000);
        for compression in ALL {
            let stored = compressed(compression, &plain);
            assert!(
                read(compression, &stored).unwrap() == plain,
                "{compression:?}"
            );
        }
        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert!(read(Compression::Snappy, &raw).unwrap() == plain);
    }

    #[test]
    fn what_is_cut_short_is_a_beginning_and_what_is_random_an_error() {
        let plain = b"some text, again and again ".repeat(100);
        for compression in ALL.into_iter().skip(1) {
            let stored = compressed(compression, &plain);
            for length in 1..stored.len() {
                let mut part = Vec::new();
                let ended = decompress(compression, &stored[..length])
                    .and_then(|mut reader| reader.read_to_end(&mut part));
                // The last bytes of a stream may hold nothing but a checksum.
                assert!(ended.is_err() || plain.starts_with(&part));
            }
            read(compression, b"not compressed at all").unwrap_err();
        }
    }

    #[test]
    fn a_bomb_is_read_up_to_the_bound() {
        let bound = usize::try_from(DECOMPRESSED_MAX).unwrap();
        let bomb = compressed(Compression::Zstd, &vec![0; bound]);
        assert_eq!(read(Compression::Zstd, &bomb).unwrap().len(), bound);
        // Two frames, one after the other, are one stream.
        let bomb = [bomb, compressed(Compression::Zstd, b"0")].concat();
        let beyond = read(Compression::Zstd, &bomb).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_snappy_block_that_announces_gigabytes_is_refused() {
        let announced = b"\xff\xff\xff\xff\x0fxxxx";
        let refused = read(Compression::Snappy, announced).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
