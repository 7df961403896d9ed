//! The index of the text of some consecutive rows.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lanner_storage::{Section, SectionFile};
use roaring::RoaringBitmap;
use tantivy::index::{InvertedIndexReader, SegmentReader};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, Segment};

use super::directory::{ON_DEMAND, SectionDirectory};
use super::{failed, unreadable};
use crate::error::Result;
use crate::field::SegmentFiles;
use crate::model::TextField;

/// Name of the file of the text field at `index` (in name order).
pub fn file_name(index: usize) -> String {
    format!("text-{index}.sec")
}

/// f32 a row: the length of its text, the weighted sum over the paths of their numbers of terms.
pub const LENGTHS: &str = "lengths";

/// Name of the tokenizer of a path in schemas; what it is follows from the field's settings.
pub fn tokenizer(path: usize) -> String {
    format!("path-{path}")
}

/// Number of texts, and their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Rows with at least one term.
    pub rows: u64,
    /// Sum of the lengths.
    pub length: f64,
}

impl Totals {
    fn of(lengths: impl Iterator<Item = f32>) -> Self {
        lengths.filter(|&length| length > 0.0).fold(Self::default(), |sum, length| Self {
            rows: sum.rows + 1,
            length: sum.length + f64::from(length),
        })
    }
}

/// Dictionary, postings and positions of the text of some rows, a dictionary a path, and the lengths
/// of the texts.
#[derive(Debug)]
pub struct TextIndex {
    settings: TextField,
    /// By path, in name order.
    paths: Vec<Path>,
    segment: Segment,
    lengths: Lengths,
    all: Totals,
    /// Totals of the rows that were hidden last, with their number: hidden rows only become more.
    hidden: Mutex<(u64, Totals)>,
}

struct Path {
    field: Field,
    weight: f32,
    terms: Arc<InvertedIndexReader>,
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("field", &self.field).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Lengths {
    Memory(Box<[f32]>),
    Sealed(Arc<SectionFile>, Section<f32>),
}

impl Lengths {
    fn get(&self) -> &[f32] {
        match self {
            Self::Memory(lengths) => lengths,
            Self::Sealed(file, section) => file.numbers(*section),
        }
    }
}

/// The tantivy schema of a field: a text field a path, by name, without stored texts and without the
/// lengths that tantivy rounds to a byte.
pub fn schema(settings: &TextField) -> Schema {
    let mut builder = Schema::builder();
    for (index, path) in settings.paths.keys().enumerate() {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(&tokenizer(index))
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        builder.add_text_field(path, TextOptions::default().set_indexing_options(indexing));
    }
    builder.build()
}

impl TextIndex {
    /// An index in memory, with a length for each of its rows.
    ///
    /// # Errors
    /// If tantivy cannot read what it wrote.
    pub fn in_memory(settings: &TextField, index: &Index, lengths: Vec<f32>) -> Result<Self> {
        Self::new(settings, index, Lengths::Memory(lengths.into()), None)
    }

    /// Opens the index of a sealed segment and verifies all but postings and positions.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file and section.
    pub fn open(files: SegmentFiles<'_>, index: usize, settings: &TextField) -> Result<Self> {
        let file = Arc::new(files.open(&file_name(index), &ON_DEMAND)?);
        let lengths = file.find_numbers::<f32>(LENGTHS, Some(files.entry.rows as usize))?;
        if !file.numbers(lengths).iter().all(|length| length.is_finite() && *length >= 0.0) {
            return Err(file.corrupted(LENGTHS, "a length that is none").into());
        }
        let opened = Index::open(SectionDirectory(Arc::clone(&file)));
        let opened = opened.map_err(|error| failed(Some(&file), error))?;
        let lengths = Lengths::Sealed(Arc::clone(&file), lengths);
        Self::new(settings, &opened, lengths, Some(&file))
    }

    fn new(
        settings: &TextField,
        index: &Index,
        lengths: Lengths,
        file: Option<&Arc<SectionFile>>,
    ) -> Result<Self> {
        let failed = |error| failed(file.map(|file| &**file), error);
        let broken = |detail: &str| super::broken(file.map(|file| &**file), detail.to_owned());
        let segments = index.searchable_segments().map_err(failed)?;
        let [segment] = segments.as_slice() else {
            return Err(broken("not one segment"));
        };
        let reader = SegmentReader::open(segment).map_err(failed)?;
        if reader.max_doc() as usize != lengths.get().len() {
            return Err(broken("another number of rows"));
        }
        let path = |(name, &weight): (&String, &f32)| {
            let field = reader.schema().get_field(name).map_err(failed)?;
            let terms = reader.inverted_index(field).map_err(failed)?;
            Ok(Path { field, weight, terms })
        };
        let paths = settings.paths.iter().map(path).collect::<Result<_>>()?;
        let all = Totals::of(lengths.get().iter().copied());
        let hidden = Mutex::default();
        let (settings, segment) = (settings.clone(), segment.clone());
        Ok(Self { settings, paths, segment, lengths, all, hidden })
    }

    /// The settings of the field.
    pub fn settings(&self) -> &TextField {
        &self.settings
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.lengths.get().len() as u32
    }

    /// The length of each row's text.
    pub fn lengths(&self) -> &[f32] {
        self.lengths.get()
    }

    /// The file, if it is sealed.
    pub fn file(&self) -> Option<&SectionFile> {
        match &self.lengths {
            Lengths::Memory(_) => None,
            Lengths::Sealed(file, _) => Some(file),
        }
    }

    /// The tantivy segment, for merges.
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The dictionaries of the paths with their weights, by path.
    pub(super) fn dictionaries(&self) -> impl ExactSizeIterator<Item = Dictionary<'_>> {
        let dictionary = |path| Dictionary { index: self, path };
        self.paths.iter().map(dictionary)
    }

    /// Totals of the rows that are not hidden.
    pub fn totals(&self, hidden: &RoaringBitmap) -> Totals {
        if hidden.is_empty() {
            return self.all;
        }
        let mut known = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != hidden.len() {
            let lengths = self.lengths.get();
            *known = (hidden.len(), Totals::of(hidden.iter().map(|row| lengths[row as usize])));
        }
        let Totals { rows, length } = known.1;
        Totals { rows: self.all.rows - rows, length: self.all.length - length }
    }

    /// The error of a read that tantivy failed with.
    pub(super) fn failed(&self, error: &std::io::Error) -> crate::Error {
        unreadable(self.file(), error)
    }
}

/// The terms of one path.
#[derive(Debug, Clone, Copy)]
pub struct Dictionary<'i> {
    index: &'i TextIndex,
    path: &'i Path,
}

impl<'i> Dictionary<'i> {
    /// What an occurrence counts.
    pub fn weight(&self) -> f32 {
        self.path.weight
    }

    pub fn field(&self) -> Field {
        self.path.field
    }

    pub fn terms(&self) -> &'i InvertedIndexReader {
        &self.path.terms
    }

    pub fn index(&self) -> &'i TextIndex {
        self.index
    }
}
