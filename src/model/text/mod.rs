//! Text fields: which payload paths are searched by words, and queries of words.

mod analyzer;
mod field;
mod parse;
mod query;

pub use analyzer::{Analyzer, Language};
pub use field::TextField;
pub(crate) use field::{check_texts, validate_all};
pub use query::{Occur, TextClause, TextPattern, TextQuery};
