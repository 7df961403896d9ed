//! What segments say about filters, in memory, sealed and merged, is what the payloads say: for
//! random payloads and random filters.

mod common;

use std::sync::Arc;

use common::filters::matches;
use lanner::PointBatchBuilder;
use lanner::internals::BuildProgress;
use lanner::internals::{
    BuildPlan, BuildSource, MutableReader, MutableSegment, SealedSegment, SegmentReader,
    build_segment,
};
use lanner::{
    Bounds, CollectionConfig, Filter, FilterValue, Metric, Payload, PayloadType, Point, PointId,
    VectorField,
};
use lanner_storage::LocalDirectory;
use proptest::collection::vec;
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Map, Value, json};

fn bare() -> CollectionConfig {
    CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot))
}

/// Half of the paths are declared.
fn half() -> CollectionConfig {
    bare()
        .with_payload("lang", PayloadType::Keyword)
        .with_payload("meta.year", PayloadType::Integer)
}

fn config() -> CollectionConfig {
    half()
        .with_payload("at", PayloadType::Datetime)
        .with_payload("meta.price", PayloadType::Float)
        .with_payload("open", PayloadType::Boolean)
}

fn moment(day: u32) -> String {
    format!("2024-03-{:02}T00:00:00Z", 1 + day % 28)
}

/// A value of the path, as its number tells.
fn scalar(path: &str, number: u32) -> Value {
    match path {
        "at" => json!(moment(number)),
        "lang" => json!(["de", "en", "fr", "日本", ""][number as usize % 5]),
        "meta.price" => json!(f64::from(number) / 2.0 - 4.0),
        "meta.year" => json!(i64::from(number) - 8),
        _ => json!(number.is_multiple_of(2)),
    }
}

const PATHS: [&str; 5] = ["at", "lang", "meta.price", "meta.year", "open"];

/// What a payload has at a path: nothing, null, a value, or an array.
fn at_path(path: &'static str) -> impl Strategy<Value = Option<Value>> {
    let one = move || (0_u32..20).prop_map(move |number| scalar(path, number));
    let element = prop_oneof![8 => one(), 1 => Just(Value::Null)];
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Value::Null)),
        6 => one().prop_map(Some),
        2 => vec(element, 0..4).prop_map(|values| Some(values.into())),
    ]
}

fn payload() -> impl Strategy<Value = Option<Map<String, Value>>> {
    let parts = PATHS.map(at_path);
    let object = (parts, 0_u8..8).prop_map(|(parts, shape)| {
        let [at, lang, price, year, open] = parts;
        let mut meta: Map<String, Value> = Map::new();
        meta.extend(price.map(|price| ("price".into(), price)));
        meta.extend(year.map(|year| ("year".into(), year)));
        let meta = match shape {
            0 => json!([meta, {"year": 3}, {"other": 1}, 7]),
            1 => json!("no object"),
            _ => json!(meta),
        };
        let mut object: Map<String, Value> = [("meta".to_owned(), meta)].into_iter().collect();
        for (name, value) in [("at", at), ("lang", lang), ("open", open)] {
            object.extend(value.map(|value| (name.to_owned(), value)));
        }
        object
    });
    prop_oneof![1 => Just(None), 9 => object.prop_map(Some)]
}

fn value(path: &'static str, number: u32) -> FilterValue {
    match scalar(path, number) {
        Value::String(text) => text.into(),
        Value::Bool(value) => value.into(),
        number => number.as_i64().map_or_else(|| number.as_f64().unwrap().into(), Into::into),
    }
}

fn bounds(path: &'static str) -> impl Strategy<Value = Bounds> {
    let bound = || proptest::option::of((0_u32..20).prop_map(move |n| value(path, n)));
    let any = (bound(), bound(), bound(), bound());
    any.prop_map(|(gt, gte, lt, lte)| Bounds { gt, gte, lt, lte })
        .prop_filter("no bound", |bounds| *bounds != Bounds::new())
}

fn filter() -> impl Strategy<Value = Filter> {
    let path = || proptest::sample::select(&PATHS[..]);
    let ordered = || proptest::sample::select(vec!["at", "meta.price", "meta.year"]);
    let leaf = prop_oneof![
        (path(), 0_u32..24).prop_map(|(path, number)| Filter::eq(path, value(path, number))),
        (path(), vec(0_u32..24, 0..6)).prop_map(|(path, numbers)| {
            Filter::one_of(path, numbers.into_iter().map(|number| value(path, number)))
        }),
        ordered().prop_flat_map(|path| bounds(path).prop_map(move |b| Filter::range(path, b))),
        path().prop_map(Filter::exists),
        path().prop_map(Filter::is_null),
        vec(0_u64..80, 0..20).prop_map(|ids| Filter::Ids(ids.into_iter().map(id).collect())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|filter| !filter),
        ]
    })
}

fn id(number: u64) -> PointId {
    if number.is_multiple_of(3) { format!("id-{number}").into() } else { number.into() }
}

/// A segment and what its rows hold.
struct Segment {
    config: CollectionConfig,
    reader: Arc<dyn SegmentReader>,
    rows: Vec<(PointId, Value)>,
}

impl Segment {
    /// In memory, in batches of five.
    fn mutable(
        config: &CollectionConfig,
        first_id: u64,
        payloads: &[Option<Map<String, Value>>],
    ) -> Self {
        let segment = Arc::new(MutableSegment::default());
        let mut rows = Vec::new();
        for part in payloads.chunks(5) {
            let mut batch = PointBatchBuilder::new(config);
            for payload in part {
                let id = id(first_id + rows.len() as u64);
                let mut point = Point::new(id.clone()).with_vector("v", vec![1.0]);
                if let Some(payload) = payload {
                    point = point.with_payload(Payload::try_from(payload.clone()).unwrap());
                }
                batch.push(point).unwrap();
                rows.push((id, payload.clone().unwrap_or_default().into()));
            }
            segment.append(batch.finish());
        }
        let reader = MutableReader::new(segment, rows.len() as u32);
        Self { config: config.clone(), reader: Arc::new(reader), rows }
    }

    /// Sealed, from the rows of others without every third.
    fn sealed(number: u64, sources: &[&Self], folder: &std::path::Path) -> Self {
        let mut rows = Vec::new();
        let source = |segment: &&Self| {
            let deleted: RoaringBitmap = (0..segment.rows.len() as u32).step_by(3).collect();
            let live = segment.rows.iter().zip(0..).filter(|(_, row)| !deleted.contains(*row));
            rows.extend(live.map(|(row, _)| row.clone()));
            BuildSource { reader: segment.reader.clone(), deleted: Arc::new(deleted) }
        };
        let config = sources[0].config.clone();
        let sources: Vec<BuildSource> = sources.iter().map(source).collect();
        let directory = LocalDirectory::new(folder);
        let name = number.to_string();
        let plan = BuildPlan {
            directory: &directory,
            folder: &name,
            number,
            config: &config,
            settings_generation: 1,
            codecs: &[],
            pool: &rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap(),
            progress: &BuildProgress::default(),
        };
        let entry = build_segment(&plan, &sources).unwrap();
        let segment = SealedSegment::open(&directory, &name, &config, entry).unwrap();
        Self { config, reader: Arc::new(segment), rows }
    }

    fn check(&self, filter: &Filter) -> Result<(), TestCaseError> {
        let condition = filter.resolve(&self.config).unwrap();
        let prepared = self.reader.filter(&condition).unwrap();
        let expected: Vec<u32> = (0..)
            .zip(&self.rows)
            .filter(|(_, (id, payload))| matches(filter, id, payload))
            .map(|(row, _)| row)
            .collect();
        let bitmap: Vec<u32> = prepared.bitmap().unwrap().iter().collect();
        prop_assert_eq!(&bitmap, &expected, "{}", filter.to_json());
        let checked = (0..self.rows.len() as u32).filter(|&row| prepared.matches(row));
        prop_assert_eq!(checked.collect::<Vec<_>>(), bitmap, "{}", filter.to_json());
        let cardinality = prepared.cardinality();
        let ordered = [cardinality.least, cardinality.expected, cardinality.most];
        prop_assert!(ordered.is_sorted(), "{cardinality:?}");
        let count = expected.len() as u64;
        let bracketed = (cardinality.least..=cardinality.most).contains(&count);
        prop_assert!(bracketed, "{cardinality:?} of {count}: {}", filter.to_json());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn segments_agree_with_the_payloads(
        first in vec(payload(), 1..60),
        second in vec(payload(), 1..20),
        filters in vec(filter(), 24),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Vec::new();
        for (number, config) in (0..).step_by(2).zip([config(), half(), bare()]) {
            let memory = Segment::mutable(&config, 0, &first);
            let later = Segment::mutable(&config, 60, &second);
            let sealed = Segment::sealed(number, &[&memory], folder.path());
            let merged = Segment::sealed(number + 1, &[&sealed, &later], folder.path());
            segments.extend([memory, sealed, merged]);
        }
        for filter in &filters {
            for segment in &segments {
                segment.check(filter)?;
            }
            // And as JSON it is the same filter.
            let text = filter.to_json().to_string();
            prop_assert_eq!(&Filter::parse(&text).unwrap(), filter);
        }
    }
}

#[test]
fn counts_of_single_values_are_exact() {
    let payload = |number: u32| {
        let tags: Vec<&str> = ["a", "b", "c"].into_iter().take(number as usize % 4).collect();
        Some(Map::from_iter([
            ("lang".to_owned(), json!(tags)),
            ("at".to_owned(), json!(moment(number))),
        ]))
    };
    let payloads: Vec<_> = (0..300).map(payload).collect();
    let folder = tempfile::tempdir().unwrap();
    let memory = Segment::mutable(&config(), 0, &payloads);
    let sealed = Segment::sealed(1, &[&memory], folder.path());
    let exact = [
        Filter::eq("lang", "b"),
        Filter::eq("at", moment(3)),
        Filter::range("at", Bounds::new().gte(moment(5)).lt(moment(17))),
        !Filter::exists("lang"),
    ];
    for filter in exact {
        let condition = filter.resolve(&config()).unwrap();
        let prepared = sealed.reader.filter(&condition).unwrap();
        let (count, known) = (prepared.bitmap().unwrap().len(), prepared.cardinality());
        assert!(count > 0);
        assert_eq!((known.least, known.most), (count, count), "{}", filter.to_json());
    }
}
