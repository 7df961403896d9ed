//! Documents of a BEIR folder as points.

use std::collections::{HashMap, HashSet};

use super::super::error::{CliError, Result};
use super::super::input::{Arrays, Entry, Place, Source};
use lanner::{Payload, Point, PointId};
use lanner_eval::{BeirDataset, Document, Documents};

/// What a search by words reads: title and text.
fn payload(document: &Document) -> Result<Payload> {
    let text = serde_json::json!({ "title": document.title, "text": document.text });
    Ok(Payload::parse(&text.to_string())?)
}

/// The documents of a folder, by their texts alone.
pub struct Texts {
    documents: Documents,
    /// Those to read.
    ids: HashSet<String>,
    read: u64,
}

impl Texts {
    /// The texts of these documents.
    pub fn new(dataset: &BeirDataset, ids: &[String]) -> Result<Self> {
        Ok(Self { documents: dataset.documents()?, ids: ids.iter().cloned().collect(), read: 0 })
    }
}

impl Source for Texts {
    fn total(&self) -> Option<u64> {
        Some(self.ids.len() as u64)
    }

    fn next(&mut self, count: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(count);
        while entries.len() < count
            && let Some(document) = self.documents.next()
        {
            let document = document?;
            self.read += 1;
            if self.ids.contains(&document.id) {
                let point = Point::new(document.id.as_str()).with_payload(payload(&document)?);
                entries.push(Entry { place: Place::Line(self.read), point: Ok(point) });
            }
        }
        Ok(entries)
    }
}

/// Points from arrays with the texts of their documents, whatever their order.
pub struct WithTexts {
    arrays: Arrays,
    payloads: HashMap<PointId, Payload>,
}

impl WithTexts {
    /// Puts vectors and texts together.
    pub fn new(dataset: &BeirDataset, arrays: Arrays) -> Result<Self> {
        let mut payloads = HashMap::new();
        for document in dataset.documents()? {
            let document = document?;
            payloads.insert(PointId::from(document.id.as_str()), payload(&document)?);
        }
        Ok(Self { arrays, payloads })
    }
}

impl Source for WithTexts {
    fn total(&self) -> Option<u64> {
        self.arrays.total()
    }

    fn next(&mut self, count: usize) -> Result<Vec<Entry>> {
        let mut entries = self.arrays.next(count)?;
        for point in entries.iter_mut().filter_map(|entry| entry.point.as_mut().ok()) {
            let found = self.payloads.remove(&point.id);
            let missing = || CliError::Usage(format!("corpus.jsonl has no document {}", point.id));
            point.payload = Some(found.ok_or_else(missing)?);
        }
        Ok(entries)
    }
}
