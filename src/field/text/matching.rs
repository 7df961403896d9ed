//! The rows whose text matches: for filters.

use roaring::RoaringBitmap;

use super::cursor::{Cursor, END};
use super::{TextPart, TextTerms};
use crate::error::Result;
use crate::model::Occur;

/// The rows of a part, as rows of the segment, that have what is required at a path (or at any), and
/// nothing that is excluded. A query without words, such as one of stop words only, matches none.
///
/// # Errors
/// If a sealed file is damaged, and for prefixes that stand for too many words.
pub fn matching_rows(
    part: &TextPart,
    terms: &TextTerms,
    path: Option<usize>,
) -> Result<RoaringBitmap> {
    let terms = terms.clone().expanded(std::iter::once(part), path)?;
    let (mut wanted, mut unwanted) = (None::<RoaringBitmap>, RoaringBitmap::new());
    for leaf in &terms.leaves {
        let mut cursor = Cursor::open(&part.index, &leaf.pattern, path, &mut 0)?;
        let mut rows = RoaringBitmap::new();
        while cursor.row() < END.min(part.rows) {
            rows.insert(part.first_row + cursor.row());
            cursor.advance();
        }
        if leaf.occur == Occur::Excluded {
            unwanted |= rows;
            continue;
        }
        wanted = Some(match wanted {
            Some(others) => others & rows,
            None => rows,
        });
    }
    Ok(wanted.unwrap_or_default() - unwanted)
}
