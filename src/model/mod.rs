//! The data model: collections, points, vectors and scores.
//!
//! This is the lowest layer of the engine: everything above uses these types, and nothing here
//! knows segments, files or the network. All validation of user input lives here, so that a value
//! in a [`PointBatch`], or one that passed a `validate` call, is sound.

mod batch;
mod budget;
mod compression;
mod config;
mod encoding;
mod fde;
mod filter;
mod index_settings;
mod invalid;
pub mod limits;
mod memory;
mod order_by;
mod payload;
mod payload_column;
mod payload_type;
mod payload_value;
mod point;
mod point_id;
mod score;
mod sparse_vector;
mod text;
mod training_queries;
mod update;
mod vector;

pub(crate) use batch::{FieldColumn, prepare_vector};
pub use batch::{PointBatch, PointBatchBuilder};
pub use budget::{Exhausted, MemoryBudget};
pub use compression::{CodeSettings, Compression, LvqCode, Primary, ReductionMethod, Secondary};
pub use config::{CollectionConfig, Metric, VectorField, VectorKind, validate_name};
pub use encoding::Encoding;
pub use fde::{FdeSettings, Generator, MAX_FDE_DIMENSION};
pub(crate) use filter::in_intervals;
pub use filter::{Bounds, ColumnTest, Condition, Filter, FilterValue, Interval};
pub use index_settings::{
    GraphSettings, IndexKind, IndexSetting, IndexSettings, ListSettings, SettingValue,
};
pub(crate) use invalid::check_range;
pub use invalid::{InvalidInput, Problem};
pub use memory::Memory;
pub use order_by::{Direction, OrderBy, OrderPlace};
pub use payload::Payload;
pub use payload_column::PayloadColumn;
pub(crate) use payload_column::{object, read_new, read_path, read_paths};
pub(crate) use payload_type::validate_path;
pub use payload_type::{PayloadType, Scalar};
pub use payload_value::{DeclaredPath, Key};
pub use point::{Include, Point};
pub use point_id::{PointId, PointIdRef};
pub use score::Score;
pub use sparse_vector::SparseVector;
pub(crate) use text::check_texts;
pub use text::{Analyzer, Language, Occur, TextClause, TextField, TextPattern, TextQuery};
pub use training_queries::{PreparedQueries, TrainingQueries};
pub use update::{PayloadUpdate, Selection};
pub use vector::{
    ElementType, Elements, ElementsRef, MultiVector, StoredElement, Vector, VectorRef, VectorsView,
};

pub use crate::kernels::sparse::Entry;
