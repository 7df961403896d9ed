//! The rows whose text matches: for filters.

use roaring::RoaringBitmap;

use super::cursor::{Cursor, END};
use super::terms::Pattern;
use super::{Steps, TextPart, TextTerms};
use crate::error::Result;
use crate::model::{Occur, TextQuery};

/// The rows of a segment, given all of its parts, that have what is required at a path (or at any), and
/// nothing that is excluded. A query without words, such as one of stop words only, matches none.
///
/// # Errors
/// [`crate::Error::Invalid`] for a query that is not valid, and if a sealed file is damaged.
pub fn matching_rows(
    parts: &[TextPart],
    query: &TextQuery,
    path: Option<usize>,
) -> Result<RoaringBitmap> {
    let Some(first) = parts.first() else { return Ok(RoaringBitmap::new()) };
    let steps = Steps::new(&|| Ok(()));
    // Without scores, a prefix may stand for any number of words.
    let terms = TextTerms::new(first.index.settings(), query)?;
    let terms = terms.expanded(parts.iter(), path, usize::MAX, &steps)?;
    let (mut wanted, mut unwanted) = (None::<RoaringBitmap>, RoaringBitmap::new());
    for leaf in &terms.leaves {
        let mut rows = RoaringBitmap::new();
        for part in parts {
            match &leaf.pattern {
                Pattern::Any(words) => {
                    for (word, _) in words {
                        let pattern = Pattern::Term(word.clone());
                        add_rows(part, &pattern, path, &mut rows, &steps)?;
                    }
                }
                pattern => add_rows(part, pattern, path, &mut rows, &steps)?,
            }
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

/// Adds the rows of a pattern.
fn add_rows(
    part: &TextPart,
    pattern: &Pattern,
    path: Option<usize>,
    rows: &mut RoaringBitmap,
    steps: &Steps<'_>,
) -> Result<()> {
    let mut cursor = Cursor::open(&part.index, pattern, path, (&mut 0, steps))?;
    while cursor.row() < END.min(part.rows) {
        rows.insert(part.first_row + cursor.row());
        cursor.advance();
    }
    Ok(())
}
