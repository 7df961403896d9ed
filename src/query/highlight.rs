//! Fragments of the texts of hits, around the words of the query.

use std::ops::Range;

use super::pieces::Ground;
use super::request::{Query, QueryRequest};
use crate::error::Result;
use crate::field::text::{Excerpt, Marker, TextTerms};
use crate::model::{InvalidInput, PointId, TextField, check_range, limits, object};

/// What to return of the texts of hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Highlight {
    /// Most fragments of each path of the text field, 1 to 16.
    pub fragments: usize,
    /// Characters of a fragment, 20 to 10,000: about so many at most, unless a match is longer.
    pub length: usize,
}

impl Default for Highlight {
    /// One fragment of 200 characters for each path.
    fn default() -> Self {
        Self { fragments: 1, length: 200 }
    }
}

/// A part of a text of a hit, around words of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The payload path of the text.
    pub path: String,
    /// The part.
    pub text: String,
    /// What matched in it, as ranges of bytes, ascending.
    pub matches: Vec<Range<usize>>,
}

impl Highlight {
    fn validate(self) -> Result<(), InvalidInput> {
        check_range("highlight.fragments", 1, limits::MAX_FRAGMENTS, self.fragments)?;
        let (least, most) = limits::FRAGMENT_LENGTHS;
        check_range("highlight.length", least, most, self.length)
    }
}

/// Cuts the fragments of a query.
pub struct Highlighter<'g> {
    ground: &'g Ground<'g>,
    settings: TextField,
    marker: Marker,
    highlight: Highlight,
}

impl<'g> Highlighter<'g> {
    /// The highlighter of a request; `None` if it asks for no fragments.
    ///
    /// # Errors
    /// [`InvalidInput`] at `highlight` if the request has no words, in its first or second stage.
    pub fn new(ground: &'g Ground<'g>, request: &QueryRequest) -> Result<Option<Self>> {
        let Some(highlight) = request.highlight else { return Ok(None) };
        highlight.validate()?;
        let second = request.rescore.as_ref().map(|rescore| (&rescore.field, &rescore.query));
        let mut stages = [(&request.field, &request.query)].into_iter().chain(second);
        let words = stages.find_map(|(field, query)| match query {
            Query::Text(words) => Some((field, words)),
            _ => None,
        });
        let Some((field, words)) = words else {
            let expected = "a query with words, whose fragments are cut";
            return Err(InvalidInput::mismatch("highlight", expected, "one without").into());
        };
        let (_, settings) = ground.config.text_field(field)?;
        let marker = Marker::new(settings, &TextTerms::new(settings, words)?);
        Ok(Some(Self { ground, settings: settings.clone(), marker, highlight }))
    }

    /// The fragments of a point, path by path.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn fragments(&mut self, id: &PointId) -> Result<Vec<Fragment>> {
        let snapshot = self.ground.snapshot;
        let Some(location) = snapshot.find(id)? else { return Ok(Vec::new()) };
        let Some(payload) = snapshot.payload(location)? else { return Ok(Vec::new()) };
        let Highlight { fragments, length } = self.highlight;
        let names: Vec<&String> = self.settings.paths.keys().collect();
        let mut of_paths: Vec<Vec<(Excerpt, Fragment)>> = vec![Vec::new(); names.len()];
        self.settings.visit_texts(&object(Some(&payload)), &mut |path, text| {
            for excerpt in self.marker.excerpts(text, fragments, length) {
                let fragment = Fragment {
                    path: names[path].clone(),
                    text: text[excerpt.range.clone()].to_owned(),
                    matches: excerpt.matches.clone(),
                };
                of_paths[path].push((excerpt, fragment));
            }
        });
        // A path may have several texts, of which those with the best parts are shown.
        let best = |mut found: Vec<(Excerpt, Fragment)>| {
            found.sort_by_key(|(excerpt, _)| std::cmp::Reverse(excerpt.rank));
            found.into_iter().take(fragments).map(|(_, fragment)| fragment)
        };
        Ok(of_paths.into_iter().flat_map(best).collect())
    }
}
