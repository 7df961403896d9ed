//! Writes the index of the text of a segment.

use std::sync::Arc;

use lanner_storage::{Directory, FileEntry, SectionWriter};
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::fastfield::{AliveBitSet, write_alive_bitset};
use tantivy::indexer::merge_filtered_segments;
use tantivy::tokenizer::TokenizerManager;
use tantivy::{BitSet, Index, IndexSettings, TantivyDocument};

use super::TextIndex;
use super::analysis::{Counter, analyzer, counted};
use super::directory::write_sections;
use super::failed;
use super::index::{LENGTHS, file_name, schema, tokenizer};
use crate::error::{Error, Result};
use crate::field::{LiveRows, advance, finish};
use crate::index::BuildProgress;
use crate::model::{Payload, TextField, object};

/// A text field of a segment being written.
#[derive(Clone, Copy)]
pub struct TextBuild<'a> {
    /// Directory in which the segment is created.
    pub directory: &'a dyn Directory,
    /// Temporary folder of the segment.
    pub folder: &'a str,
    /// Index of the field, by name.
    pub index: usize,
    /// Settings of the field.
    pub settings: &'a TextField,
    /// Progress and cancellation of the build.
    pub progress: &'a BuildProgress,
}

/// The payloads of the rows of a source segment.
pub type Payloads<'s> = Box<dyn Fn(u32) -> Result<Option<Payload>> + 's>;

/// A source segment.
pub struct TextSource<'s> {
    /// The rows to write.
    pub live: LiveRows<'s>,
    /// The index of all of its rows, if it is sealed.
    pub index: Option<Arc<TextIndex>>,
    /// Reads the payload of a row.
    pub payloads: Payloads<'s>,
}

/// Memory that tantivy sizes its first tables by; they grow.
const TABLE_BYTES: usize = 1 << 20;
/// Terms and postings that one index in memory may hold while it is written.
const WRITER_BYTES: usize = 512 << 20;
/// Rows between two checks for cancellation.
const STEP_ROWS: u64 = 256;

/// Writes the file of a field from the live rows of some segments, in their order.
///
/// # Errors
/// If a source is damaged or the file cannot be written, and [`Error::Closing`] if the build was
/// cancelled.
pub fn write_text(build: &TextBuild<'_>, sources: &[TextSource<'_>]) -> Result<FileEntry> {
    let parts =
        sources.iter().map(|source| Part::new(build, source)).collect::<Result<Vec<_>>>()?;
    let (memory, lengths) = join(&parts)?;
    let name = file_name(build.index);
    let path = format!("{}/{name}", build.folder);
    let mut writer = SectionWriter::create(build.directory, &path)?;
    write_sections(&mut writer, &memory)?;
    writer.write_section(LENGTHS, bytemuck::cast_slice(&lengths))?;
    finish(writer, name)
}

/// The index of a source, and those of its rows that are written.
struct Part {
    index: Arc<TextIndex>,
    /// `None` for all.
    live: Option<Vec<u32>>,
    /// Its files, if they are in memory.
    memory: Option<RamDirectory>,
}

impl Part {
    fn new(build: &TextBuild<'_>, source: &TextSource<'_>) -> Result<Self> {
        if let Some(index) = &source.index {
            let live: Vec<u32> = source.live.iter().collect();
            advance(build.progress, live.len() as u64)?;
            let live = (live.len() < index.rows() as usize).then_some(live);
            return Ok(Self { index: Arc::clone(index), live, memory: None });
        }
        let mut pending = 0;
        let payloads = source.live.iter().map(|row| {
            pending += 1;
            if pending == STEP_ROWS {
                advance(build.progress, std::mem::take(&mut pending))?;
            }
            (source.payloads)(row)
        });
        let (index, memory) = index_in_memory(build.settings, payloads, WRITER_BYTES)?;
        advance(build.progress, source.live.count() % STEP_ROWS)?;
        Ok(Self { index: Arc::new(index), live: None, memory: Some(memory) })
    }

    fn rows(&self) -> usize {
        self.live.as_ref().map_or(self.index.rows() as usize, Vec::len)
    }
}

/// The files of one index of the rows of all parts, and the lengths of their texts.
fn join(parts: &[Part]) -> Result<(RamDirectory, Vec<f32>)> {
    let mut lengths = Vec::with_capacity(parts.iter().map(Part::rows).sum());
    for Part { index, live, .. } in parts {
        match live {
            Some(live) => lengths.extend(live.iter().map(|&row| index.lengths()[row as usize])),
            None => lengths.extend_from_slice(index.lengths()),
        }
    }
    if let [Part { live: None, memory: Some(memory), .. }] = parts {
        return Ok((memory.clone(), lengths));
    }
    let failed = |error| failed(parts.iter().find_map(|part| part.index.file()), error);
    let segments: Vec<_> = parts.iter().map(|part| part.index.segment().clone()).collect();
    let alive = parts.iter().map(|part| part.live.as_deref().map(|live| (part, live)));
    let alive = alive.map(|live| live.map(|(part, live)| alive_rows(part, live)).transpose());
    let alive = alive.collect::<Result<Vec<_>>>()?;
    let memory = RamDirectory::create();
    merge_filtered_segments(&segments, IndexSettings::default(), alive, memory.clone())
        .map_err(failed)?;
    Ok((memory, lengths))
}

fn alive_rows(part: &Part, live: &[u32]) -> Result<AliveBitSet> {
    let mut rows = BitSet::with_max_value(part.index.rows());
    for &row in live {
        rows.insert(row);
    }
    let mut bytes = Vec::new();
    write_alive_bitset(&rows, &mut bytes)
        .map_err(|error| Error::Internal(format!("cannot encode live rows: {error}")))?;
    Ok(AliveBitSet::open(OwnedBytes::new(bytes)))
}

/// Indexes payloads in memory, a row each.
///
/// # Errors
/// Those of the payloads.
pub fn index_payloads(
    settings: &TextField,
    payloads: impl IntoIterator<Item = Result<Option<Payload>>>,
) -> Result<TextIndex> {
    index_in_memory(settings, payloads, WRITER_BYTES).map(|(index, _)| index)
}

/// As [`index_payloads`], with the files of the index. Whenever tantivy holds `most` bytes of terms and
/// postings, of which it can hold 4 GiB, it begins another index; they are joined at the end.
fn index_in_memory(
    settings: &TextField,
    payloads: impl IntoIterator<Item = Result<Option<Payload>>>,
    most: usize,
) -> Result<(TextIndex, RamDirectory)> {
    let mut payloads = payloads.into_iter().peekable();
    let mut parts = vec![index_some(settings, &mut payloads, most)?];
    while payloads.peek().is_some() {
        parts.push(index_some(settings, &mut payloads, most)?);
    }
    if let [(..)] = parts.as_slice()
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let parts = parts.into_iter().map(|(index, memory)| Part {
        index: Arc::new(index),
        live: None,
        memory: Some(memory),
    });
    let (memory, lengths) = join(&parts.collect::<Vec<_>>())?;
    let index = Index::open(memory.clone()).map_err(|error| failed(None, error))?;
    Ok((TextIndex::in_memory(settings, &index, lengths)?, memory))
}

/// Indexes payloads until there are no more or tantivy holds `most` bytes, at least one.
fn index_some(
    settings: &TextField,
    payloads: &mut impl Iterator<Item = Result<Option<Payload>>>,
    most: usize,
) -> Result<(TextIndex, RamDirectory)> {
    let failed = |error| failed(None, error);
    let memory = RamDirectory::create();
    let schema = schema(settings);
    let fields = settings.paths.keys().map(|path| schema.get_field(path));
    let fields = fields.collect::<tantivy::Result<Vec<_>>>().map_err(failed)?;
    let (tokenizers, counters) = counting(settings);
    let builder = Index::builder().schema(schema).tokenizers(tokenizers);
    let writer = builder.single_segment_index_writer(memory.clone(), TABLE_BYTES);
    let mut writer = writer.map_err(failed)?;
    let mut lengths = Vec::new();
    for payload in payloads {
        let mut document = TantivyDocument::default();
        if let Some(payload) = payload? {
            let object = object(Some(&payload));
            settings.visit_texts(&object, &mut |path, text| document.add_text(fields[path], text));
        }
        writer.add_document(document).map_err(failed)?;
        let weighted = counters.iter().zip(settings.paths.values());
        lengths.push(weighted.map(|(counter, weight)| counter.take() as f32 * weight).sum());
        if writer.mem_usage() > most {
            break;
        }
    }
    let index = writer.finalize().map_err(failed)?;
    Ok((TextIndex::in_memory(settings, &index, lengths)?, memory))
}

/// The tokenizers of the paths, and what counts the terms they make.
fn counting(settings: &TextField) -> (TokenizerManager, Vec<Counter>) {
    let (tokenizers, mut counters) = (TokenizerManager::new(), Vec::new());
    for path in 0..settings.paths.len() {
        let counter = Counter::default();
        tokenizers.register(&tokenizer(path), counted(analyzer(settings.analyzer), &counter));
        counters.push(counter);
    }
    (tokenizers, counters)
}

#[cfg(test)]
mod tests {
    use tantivy::schema::IndexRecordOption;
    use tantivy::{DocSet, TERMINATED};

    use super::*;
    use crate::field::text::cursor::postings;

    #[test]
    fn an_index_that_grows_too_large_is_written_in_pieces() {
        let settings = TextField::weighted([("a", 1.0), ("b", 2.5)]);
        let payload = |row: u32| {
            let text = format!("{{\"a\": \"w{} all\", \"b\": \"v{row}\"}}", row % 3);
            if row == 4 { None } else { Some(Payload::parse(&text).unwrap()) }
        };
        let payloads = || (0..50).map(|row| Ok(payload(row)));
        let (whole, _) = index_in_memory(&settings, payloads(), usize::MAX).unwrap();
        let (joined, _) = index_in_memory(&settings, payloads(), 0).unwrap();
        assert_eq!((joined.rows(), joined.lengths()), (50, whole.lengths()));
        let rows = |index: &TextIndex, path: usize, term: &str| {
            let dictionary = index.dictionaries().nth(path).unwrap();
            let mut list =
                postings(dictionary, term, IndexRecordOption::Basic, &mut 0).unwrap().unwrap();
            let mut rows = Vec::new();
            while list.doc() != TERMINATED {
                rows.push(list.doc());
                list.advance();
            }
            rows
        };
        for (path, term) in [(0, "all"), (0, "w1"), (1, "v7"), (1, "v49")] {
            assert_eq!(rows(&joined, path, term), rows(&whole, path, term), "{term}");
        }
        assert_eq!(rows(&joined, 0, "w1")[..3], [1, 7, 10], "row 4 has no payload");
    }
}
