//! The collection of these tests, and the oracle, which reads the JSON of the payloads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Durability, ErrorKind,
    FacetRequest, Filter, FilterValue, GroupRequest, Metric, OrderBy, OrderedScroll, Payload,
    PayloadType, Point, PointId, QueryRequest, VectorField,
};
use lanner_storage::CommitFaults;
use serde_json::{Value, json};

use crate::common::Random;
use crate::common::disk::{Disk, Fate};
use crate::common::filters::matches;

/// What is declared later, and in the order of names before and behind the path that is from the first.
pub const LATER: [(&str, PayloadType); 4] = [
    ("at", PayloadType::Datetime),
    ("meta.price", PayloadType::Float),
    ("open", PayloadType::Boolean),
    ("year", PayloadType::Integer),
];

pub fn config() -> CollectionConfig {
    CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_payload("lang", PayloadType::Keyword)
}

pub fn payload(random: &mut Random) -> Value {
    let lang = ["de", "en", "fr", "日本"][random.below(4)];
    let mut payload = json!({ "lang": lang, "open": random.below(3) == 0 });
    let year = |random: &mut Random| 2000 + random.below(12);
    match random.below(8) {
        0 => {}
        1 => payload["year"] = Value::Null,
        2 => payload["year"] = json!([]),
        3 => payload["year"] = json!([year(random), null, year(random), year(random)]),
        _ => payload["year"] = json!(year(random)),
    }
    if random.below(5) > 0 {
        payload["at"] = json!(format!("2024-03-{:02}T00:00:00Z", 1 + random.below(28)));
        payload["meta"] = json!({ "price": random.below(40) as f64 / 2.0 });
    }
    payload
}

pub fn parse(payload: &Value) -> Payload {
    Payload::parse(&payload.to_string()).unwrap()
}

pub fn point(random: &mut Random, id: u64, payload: &Value) -> Point {
    Point::new(id).with_vector("v", random.vector(2)).with_payload(parse(payload))
}

pub struct World {
    release: Release,
    pub folder: tempfile::TempDir,
    pub disk: Disk,
    pub faults: CommitFaults,
    pub database: Database,
    pub collection: Collection,
    pub random: Random,
    pub payloads: BTreeMap<PointId, Value>,
}

/// Lets go what is held when a test ends, however it does: databases wait for it.
pub struct Release(pub Disk);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.set(Fate::Created);
    }
}

pub fn open(folder: &std::path::Path, disk: &Disk, faults: &CommitFaults) -> Database {
    let options = DatabaseOptions::new().commit_faults(faults.clone());
    options.open_with(folder, Arc::new(disk.clone())).unwrap()
}

impl World {
    pub fn empty(config: CollectionConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (disk, faults) = (Disk::new(folder.path()), CommitFaults::default());
        let database = open(folder.path(), &disk, &faults);
        let collection = database.create_collection("c", config).unwrap();
        let (random, payloads) = (Random::new(17), BTreeMap::new());
        let release = Release(disk.clone());
        Self { release, folder, disk, faults, database, collection, random, payloads }
    }

    /// Points in segments 1 and 2 and in memory, some of them replaced and some deleted.
    pub fn new() -> Self {
        let mut world = Self::empty(config());
        // Fewer deleted rows than segments are rewritten for.
        for (number, ids) in [0..300, 290..400, 395..450].into_iter().enumerate() {
            world.write(ids);
            if number < 2 {
                world.collection.flush().unwrap();
            }
            let gone: Vec<u64> = (0..5).map(|_| world.random.below(400) as u64).collect();
            world.delete(gone);
        }
        world
    }

    pub fn write(&mut self, ids: std::ops::Range<u64>) {
        let points: Vec<Point> = ids
            .map(|id| {
                let payload = payload(&mut self.random);
                let point = point(&mut self.random, id, &payload);
                self.payloads.insert(id.into(), payload);
                point
            })
            .collect();
        self.collection.upsert(points).unwrap();
    }

    /// Writes a payload, whatever is in it.
    pub fn put(&mut self, id: u64, payload: Value) -> lanner::Result<()> {
        let point = point(&mut self.random, id, &payload);
        self.collection.upsert([point])?;
        self.payloads.insert(id.into(), payload);
        Ok(())
    }

    pub fn delete(&mut self, ids: Vec<u64>) {
        let ids: Vec<PointId> = ids.into_iter().map(PointId::from).collect();
        ids.iter().for_each(|id| drop(self.payloads.remove(id)));
        self.collection.delete(ids, Durability::Synced).unwrap();
    }

    pub fn reopen(self) -> Self {
        let Self { release, folder, disk, faults, database, collection, random, payloads } = self;
        drop((collection, database));
        let database = open(folder.path(), &disk, &faults);
        let collection = database.collection("c").unwrap();
        Self { release, folder, disk, faults, database, collection, random, payloads }
    }

    pub fn types(&self) -> BTreeMap<String, PayloadType> {
        self.collection.config().payload.clone()
    }

    pub fn pending(&self) -> BTreeMap<String, usize> {
        self.collection.info().pending_paths
    }

    /// Whether a filter of this path reads payloads, as `explain` says.
    pub fn reads_payloads(&self, path: &str) -> bool {
        reads_payloads(&self.collection, path)
    }

    pub fn check_filters(&self) {
        check_filters(&self.collection, &self.payloads);
    }

    pub fn check_all(&self) {
        check_all(&self.collection, &self.payloads);
    }

    /// Whatever needs a column of a path is refused, with this message.
    pub fn check_pending(&self, path: &str, message: &str) {
        for refused in needing_a_column(&self.collection, path) {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert_eq!(error.to_string(), message);
        }
    }
}

pub fn needing_a_column(collection: &Collection, path: &str) -> [lanner::Result<()>; 3] {
    let query = QueryRequest::new("v", vec![1.0, 0.5]).exact();
    [
        collection.facet(&FacetRequest::new(path)).map(drop),
        collection.scroll_ordered(&OrderedScroll::new(OrderBy::ascending(path))).map(drop),
        collection.query_groups(&GroupRequest::new(query, path)).map(drop),
    ]
}

pub fn reads_payloads(collection: &Collection, path: &str) -> bool {
    let filter = Filter::exists(path);
    let request = QueryRequest::new("v", vec![1.0, 0.5]).filter(filter).explain();
    let explanation = collection.query(&request).unwrap().explanation.unwrap();
    explanation.stages.iter().any(|stage| stage.source == "payloads")
}

/// Filters that mean the same whether the paths are declared or not.
pub fn filters() -> Vec<Filter> {
    vec![
        Filter::eq("year", 2003),
        !Filter::eq("year", 2003),
        Filter::range("year", Bounds::new().gte(2001).lt(2005)),
        Filter::one_of("year", [2000, 2011, 1999]),
        Filter::none_of("year", [2000, 2001, 2002, 2003]),
        Filter::exists("year"),
        Filter::is_null("year"),
        Filter::eq("open", true),
        Filter::eq("at", "2024-03-05T00:00:00Z"),
        Filter::range("at", Bounds::new().gt("2024-03-10T00:00:00Z")),
        Filter::range("meta.price", Bounds::new().lte(3.5)),
        Filter::eq("lang", "en").and(Filter::range("year", Bounds::new().gte(2006))),
        Filter::eq("lang", "fr").or(Filter::eq("open", true)).and(!Filter::exists("at")),
        Filter::ids([3, 5, 260, 399]).or(Filter::eq("year", 2010).and(Filter::eq("open", false))),
    ]
}

pub fn check_filters(collection: &Collection, payloads: &BTreeMap<PointId, Value>) {
    assert_eq!(collection.count(), payloads.len() as u64);
    for filter in filters() {
        let matching = payloads.iter().filter(|(id, payload)| matches(&filter, id, payload));
        let expected: Vec<PointId> = matching.map(|(id, _)| id.clone()).collect();
        assert_eq!(collection.count_where(&filter).unwrap(), expected.len() as u64, "{filter:?}");
        let found = collection.scroll_where(Some(&filter), None, 1000, Default::default());
        let found: Vec<PointId> = found.unwrap().points.into_iter().map(|point| point.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        let query = QueryRequest::new("v", vec![0.3, -1.0]).limit(1000).filter(filter.clone());
        let hits = collection.query(&query).unwrap().hits.into_iter();
        let found: BTreeSet<PointId> = hits.map(|hit| hit.point.id).collect();
        assert_eq!(found, expected.into_iter().collect(), "{filter:?}");
    }
}

/// The different values at a path, in their order; as texts, for the oracle's counts.
pub fn values(payload: &Value, path: &str) -> Vec<Value> {
    let found = path.split('.').try_fold(payload, |value, key| value.get(key));
    let found = match found {
        Some(Value::Array(values)) => values.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    };
    let mut found: Vec<Value> = found.into_iter().filter(|value| !value.is_null()).collect();
    found.sort_by(compare);
    found.dedup();
    found
}

pub fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap()),
    }
}

pub fn shown(value: &FilterValue) -> Value {
    match value {
        FilterValue::Text(text) => json!(text),
        FilterValue::Integer(number) => json!(number),
        FilterValue::Float(number) => json!(number),
        FilterValue::Boolean(value) => json!(value),
    }
}

/// Facets, orders and groups of all paths, and filters.
pub fn check_all(collection: &Collection, payloads: &BTreeMap<PointId, Value>) {
    check_filters(collection, payloads);
    for (path, payload_type) in LATER {
        let mut counts = BTreeMap::<String, u64>::new();
        for value in payloads.values().flat_map(|payload| values(payload, path)) {
            *counts.entry(value.to_string()).or_default() += 1;
        }
        let found = collection.facet(&FacetRequest::new(path).limit(1000)).unwrap();
        let found: BTreeMap<String, u64> = found
            .counts
            .iter()
            .map(|found| (shown(&found.value).to_string(), found.count))
            .collect();
        assert_eq!(found, counts, "{path}");
        assert!(!reads_payloads(collection, path), "{path}");
        if payload_type == PayloadType::Boolean {
            continue;
        }
        let mut order: Vec<(Value, &PointId)> = payloads
            .iter()
            .filter_map(|(id, payload)| Some((values(payload, path).first()?.clone(), id)))
            .collect();
        order.sort_by(|(a, x), (b, y)| compare(a, b).then_with(|| x.cmp(y)));
        let request = OrderedScroll::new(OrderBy::ascending(path)).limit(1000);
        let found = collection.scroll_ordered(&request).unwrap().points;
        assert_eq!(
            found.iter().map(|point| &point.id).collect::<Vec<_>>(),
            order.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
            "{path}"
        );
    }
    check_groups(collection, payloads);
}

/// Each group of the years has the points that have its value.
pub fn check_groups(collection: &Collection, payloads: &BTreeMap<PointId, Value>) {
    let query = QueryRequest::new("v", vec![0.3, -1.0]).exact().limit(20);
    let request = GroupRequest::new(query, "year").group_size(200);
    let found: BTreeMap<String, BTreeSet<PointId>> = collection
        .query_groups(&request)
        .unwrap()
        .groups
        .into_iter()
        .map(|group| {
            let ids = group.hits.into_iter().map(|hit| hit.point.id).collect();
            (shown(&group.value).to_string(), ids)
        })
        .collect();
    let mut expected = BTreeMap::<String, BTreeSet<PointId>>::new();
    for (id, payload) in payloads {
        for value in values(payload, "year") {
            expected.entry(value.to_string()).or_default().insert(id.clone());
        }
    }
    assert_eq!(found, expected);
}

pub fn declare_all(collection: &Collection) {
    for (path, payload_type) in LATER {
        collection.declare(path, payload_type).unwrap();
    }
}
