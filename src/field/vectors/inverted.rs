//! The inverted index of a sparse field of a sealed segment: its file, chunk by chunk.

use std::cell::RefCell;
use std::ops::Range;

use lanner_storage::{FileEntry, Section, SectionFile, SectionWriter};

use super::sections;
use crate::error::Result;
use crate::field::{FieldBuild, FieldSource, SegmentFiles, finish};
use crate::index::inverted::{
    CHUNK_ROWS, ChunkBuilder, ChunkParts, List, Posting, Scratch, Work, factor_of, search,
};
use crate::model::{ElementsRef, Entry};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The inverted index of a sparse field.
#[derive(Debug)]
pub struct InvertedIndex {
    file: SectionFile,
    chunks: Vec<Chunk>,
}

/// Sections of a chunk, as in [`ChunkParts`].
#[derive(Debug)]
struct Chunk {
    order: Section<u16>,
    indices: Section<u32>,
    scales: Section<f32>,
    block_starts: Section<u32>,
    posting_starts: Section<u32>,
    blocks: Section<u16>,
    maxima: Section<u8>,
    ends: Section<u32>,
    postings: Section<Posting>,
}

/// Gets a row and the bound of its score; returns the bound below which rows are of no use.
pub type OfferRow<'o> = &'o mut dyn FnMut(u32, f32) -> Result<f32>;

impl InvertedIndex {
    /// Opens the index of field number `index` of a segment, and verifies all but the content of its
    /// lists, which queries verify as they read them.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file and section.
    pub fn open(files: SegmentFiles<'_>, index: usize) -> Result<Self> {
        let rows = files.entry.rows;
        let chunks = rows.div_ceil(CHUNK_ROWS) as usize;
        let on_demand = (0..chunks).flat_map(|chunk| {
            sections::INVERTED_ON_DEMAND.map(|part| sections::of_chunk(chunk, part))
        });
        let on_demand: Vec<String> = on_demand.collect();
        let on_demand: Vec<&str> = on_demand.iter().map(String::as_str).collect();
        let file = files.open(&sections::inverted_file(index), &on_demand)?;
        let rows_of = |chunk: usize| (rows - chunk as u32 * CHUNK_ROWS).min(CHUNK_ROWS) as usize;
        let chunks = (0..chunks).map(|chunk| Chunk::open(&file, chunk, rows_of(chunk)));
        let chunks = chunks.collect::<Result<_>>()?;
        Ok(Self { file, chunks })
    }

    /// The file.
    pub fn file(&self) -> &SectionFile {
        &self.file
    }

    /// Offers the rows whose bounds reach the threshold, which is for bounds as
    /// [`crate::index::inverted::least_of`] says. Calls `go_on` now and then.
    ///
    /// # Errors
    /// If the file is damaged, and those of `go_on` and `offer`.
    pub fn search(
        &self,
        query: &[Entry],
        mut threshold: f32,
        go_on: &dyn Fn() -> Result<()>,
        offer: OfferRow<'_>,
    ) -> Result<Work> {
        let mut sum = Work::default();
        for (number, chunk) in (0..).zip(&self.chunks) {
            let lists = chunk.lists(&self.file, query)?;
            let order = self.file.numbers(chunk.order);
            let least = threshold;
            let offer = &mut |position: u16, bound: f32| -> Result<f32> {
                // `open` checked that the order has a row for each position of a whole chunk.
                let Some(&row) = order.get(usize::from(position)) else { return Ok(threshold) };
                threshold = offer(number * CHUNK_ROWS + u32::from(row), bound)?;
                Ok(threshold)
            };
            let work =
                SCRATCH.with_borrow_mut(|scratch| search(&lists, scratch, least, go_on, offer))?;
            sum = Work { blocks: sum.blocks + work.blocks, bytes: sum.bytes + work.bytes };
        }
        Ok(sum)
    }
}

impl Chunk {
    fn open(file: &SectionFile, number: usize, rows: usize) -> Result<Self> {
        let name = |part| sections::of_chunk(number, part);
        let indices = file.find_numbers(&name(sections::INDICES), None)?;
        let lists = file.numbers::<u32>(indices).len();
        let blocks = file.find_numbers(&name(sections::BLOCKS), None)?;
        let count = file.numbers::<u16>(blocks).len();
        let chunk = Self {
            order: file.find_numbers(&name(sections::ORDER), Some(rows))?,
            indices,
            scales: file.find_numbers(&name(sections::SCALES), Some(lists))?,
            block_starts: file.find_numbers(&name(sections::BLOCK_STARTS), Some(lists + 1))?,
            posting_starts: file.find_numbers(&name(sections::POSTING_STARTS), Some(lists + 1))?,
            blocks,
            maxima: file.find_numbers(&name(sections::MAXIMA), Some(count))?,
            ends: file.find_numbers(&name(sections::ENDS), Some(count))?,
            postings: file.find_numbers(&name(sections::POSTINGS), None)?,
        };
        let corrupted = |part, detail: &str| Err(file.corrupted(&name(part), detail).into());
        if !file.numbers(chunk.indices).is_sorted() {
            return corrupted(sections::INDICES, "not in order");
        }
        if !file.numbers(chunk.order).iter().all(|&row| usize::from(row) < rows) {
            return corrupted(sections::ORDER, "rows out of bounds");
        }
        let postings = file.numbers(chunk.postings).len();
        for (part, starts, end) in [
            (sections::BLOCK_STARTS, chunk.block_starts, count),
            (sections::POSTING_STARTS, chunk.posting_starts, postings),
        ] {
            let starts = file.numbers(starts);
            let fits = starts.first() == Some(&0) && starts.last() == Some(&(end as u32));
            if !fits || !starts.is_sorted() {
                return corrupted(part, "offsets do not rise to the end");
            }
        }
        Ok(chunk)
    }

    /// The lists that a query needs, verified.
    fn lists<'f>(&self, file: &'f SectionFile, query: &[Entry]) -> Result<Vec<List<'f>>> {
        let (indices, scales) = (file.numbers(self.indices), file.numbers(self.scales));
        let mut lists = Vec::with_capacity(query.len());
        let mut first = 0;
        for entry in query {
            first += indices[first..].partition_point(|&index| index < entry.index);
            if indices.get(first) != Some(&entry.index) {
                continue;
            }
            let range = |starts: Section<u32>| {
                let starts = file.numbers(starts);
                starts[first] as usize..starts[first + 1] as usize
            };
            let blocks = range(self.block_starts);
            lists.push(List {
                factor: factor_of(entry.value, scales[first]),
                blocks: numbers(file, self.blocks, blocks.clone())?,
                maxima: numbers(file, self.maxima, blocks.clone())?,
                ends: numbers(file, self.ends, blocks)?,
                postings: numbers(file, self.postings, range(self.posting_starts))?,
            });
        }
        Ok(lists)
    }
}

/// Some numbers of a section, verified.
fn numbers<T: bytemuck::AnyBitPattern>(
    file: &SectionFile,
    section: Section<T>,
    range: Range<usize>,
) -> Result<&[T]> {
    file.checked(section, range.start * size_of::<T>()..range.end * size_of::<T>())?;
    Ok(file.numbers(section).get(range).unwrap_or_default())
}

/// Writes the inverted index of the live rows of the sources, in order.
///
/// # Errors
/// If the file cannot be written, or [`crate::Error::Closing`] if the build was cancelled.
pub fn write_inverted(build: &FieldBuild<'_>, sources: &[FieldSource<'_>]) -> Result<FileEntry> {
    let name = sections::inverted_file(build.index);
    let mut writer = build.create_file(&name)?;
    let mut builder = ChunkBuilder::default();
    let mut chunks = 0;
    let mut flush = |builder: &mut ChunkBuilder, writer: &mut SectionWriter| {
        let parts = build.pool.install(|| std::mem::take(builder).finish());
        chunks += 1;
        write_chunk(writer, chunks - 1, &parts)
    };
    build.visit_live(sources, |view, row| {
        // Rows without a vector have no entries.
        if let ElementsRef::Entries(entries) = view.row(row) {
            builder.push(entries);
        }
        if builder.is_full() { flush(&mut builder, &mut writer) } else { Ok(()) }
    })?;
    if !builder.is_empty() {
        flush(&mut builder, &mut writer)?;
    }
    finish(writer, name)
}

fn write_chunk(writer: &mut SectionWriter, chunk: usize, parts: &ChunkParts) -> Result<()> {
    let mut write =
        |part, bytes: &[u8]| writer.write_section(&sections::of_chunk(chunk, part), bytes);
    write(sections::ORDER, bytemuck::cast_slice(&parts.order))?;
    write(sections::INDICES, bytemuck::cast_slice(&parts.indices))?;
    write(sections::SCALES, bytemuck::cast_slice(&parts.scales))?;
    write(sections::BLOCK_STARTS, bytemuck::cast_slice(&parts.block_starts))?;
    write(sections::POSTING_STARTS, bytemuck::cast_slice(&parts.posting_starts))?;
    write(sections::BLOCKS, bytemuck::cast_slice(&parts.blocks))?;
    write(sections::MAXIMA, &parts.maxima)?;
    write(sections::ENDS, bytemuck::cast_slice(&parts.ends))?;
    Ok(write(sections::POSTINGS, parts.postings.as_flattened())?)
}
