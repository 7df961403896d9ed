//! Files as they are read: the standard input for `-`, and without the compression of gzip or zstd,
//! which their first bytes show. Each is read once, so that it may be a pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What the file holds.
pub(super) fn unpacked(path: &Path) -> io::Result<Box<dyn Read>> {
    let file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    };
    decoded(file)
}

fn decoded(mut file: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    (&mut file).take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    let (is_gzip, is_zstd) = (magic.starts_with(GZIP), magic.starts_with(ZSTD));
    let whole = BufReader::new(Cursor::new(magic).chain(file));
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(ZstdFrames { file: Some(whole), frame: None }),
        _ => Box::new(whole),
    })
}

/// A zstd file: frames one behind the other, as parallel compressors write them.
struct ZstdFrames<R: BufRead> {
    /// Between two frames.
    file: Option<R>,
    frame: Option<StreamingDecoder<R, FrameDecoder>>,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(mut frame) = self.frame.take() {
                let read = frame.read(bytes)?;
                if read > 0 {
                    self.frame = Some(frame);
                    return Ok(read);
                }
                let (file, decoder) = frame.into_parts();
                let sums = decoder.get_checksum_from_data().zip(decoder.get_calculated_checksum());
                if sums.is_some_and(|(expected, got)| expected != got) {
                    let message = "the checksum of a zstd frame does not match";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                self.file = Some(file);
            }
            let Some(mut file) = self.file.take() else { return Ok(0) };
            if file.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.frame = Some(StreamingDecoder::new(file).map_err(io::Error::other)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        decoded(Box::new(Cursor::new(bytes.to_vec())))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn plain_and_compressed_files_are_read_alike_whole_and_in_parts() {
        let long = "a line of text\n".repeat(100_000);
        for text in ["", "a", &long] {
            assert_eq!(read(text.as_bytes()).unwrap(), text);
            assert_eq!(read(&gzip(text)).unwrap(), text);
            assert_eq!(read(&zstd(text)).unwrap(), text);
            // Files that were put together, and what parallel compressors write.
            assert_eq!(read(&[gzip(text), gzip("b")].concat()).unwrap(), format!("{text}b"));
            assert_eq!(read(&[zstd(text), zstd("b")].concat()).unwrap(), format!("{text}b"));
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error() {
        let text = "a line of text\n".repeat(1000);
        for whole in [gzip(&text), zstd(&text)] {
            for kept in [5, whole.len() / 2, whole.len() - 1] {
                assert!(read(&whole[..kept]).is_err(), "{kept} of {}", whole.len());
            }
        }
    }
}
