//! Facets count what the payloads hold, and scrolls in an order show each point that has a value once:
//! in memory, sealed and merged, with filters and deletions. The oracle reads the JSON of the payloads.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Random;
use common::filters::matches;
use lanner::{
    Bounds, Collection, CollectionConfig, Database, Direction, Durability, FacetRequest, Filter,
    FilterValue, Metric, OrderBy, OrderPlace, OrderedScroll, Payload, PayloadType, Point, PointId,
    VectorField,
};
use serde_json::{Value, json};

const PATHS: [&str; 5] = ["at", "lang", "meta.price", "open", "year"];

/// A value with the order that its type has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ordered {
    Boolean(bool),
    /// Twice the number: prices have halves.
    Number(i64),
    Text(String),
}

fn ordered(value: &Value) -> Ordered {
    match value {
        Value::Bool(value) => Ordered::Boolean(*value),
        Value::String(text) => Ordered::Text(text.clone()),
        number => Ordered::Number((number.as_f64().unwrap() * 2.0) as i64),
    }
}

fn ordered_filter_value(value: &FilterValue) -> Ordered {
    match value {
        FilterValue::Boolean(value) => Ordered::Boolean(*value),
        FilterValue::Text(text) => Ordered::Text(text.clone()),
        FilterValue::Integer(number) => Ordered::Number(2 * number),
        FilterValue::Float(number) => Ordered::Number((number * 2.0) as i64),
    }
}

/// The different values at a path.
fn values(payload: &Value, path: &str) -> BTreeSet<Ordered> {
    let found = path.split('.').try_fold(payload, |value, key| value.get(key));
    let found = match found {
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    };
    found.into_iter().filter(|value| !value.is_null()).map(ordered).collect()
}

struct Books {
    _folder: tempfile::TempDir,
    _database: Database,
    collection: Collection,
    payloads: BTreeMap<PointId, Value>,
}

fn payload(random: &mut Random) -> Value {
    let mut payload = json!({ "open": random.below(2) == 0 });
    let langs = ["de", "en", "fr", "日本", ""];
    match random.below(8) {
        0 => {}
        1 => payload["lang"] = Value::Null,
        2 => payload["lang"] = json!(["en", null, langs[random.below(5)], langs[random.below(5)]]),
        // Each with few points.
        3 => payload["lang"] = json!(format!("x-{}", random.below(200))),
        _ => payload["lang"] = json!(langs[random.below(5)]),
    }
    if random.below(9) > 0 {
        payload["at"] = json!(format!("2024-03-{:02}T00:00:00Z", 1 + random.below(28)));
        payload["meta"] = json!({ "price": random.below(4000) as f64 / 2.0 - 400.0 });
    }
    payload["year"] = match random.below(10) {
        0 => json!([]),
        1 => json!([1990 + random.below(40), 1990 + random.below(40), 1990 + random.below(40)]),
        _ => json!(1990 + random.below(40)),
    };
    payload
}

fn id(number: usize) -> PointId {
    if number.is_multiple_of(3) { format!("t{number}").into() } else { (number as u64).into() }
}

/// Points in two sealed segments and in memory, of which some were replaced and some deleted.
fn books() -> Books {
    let mut random = Random::new(5);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let mut config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let types = [
        PayloadType::Datetime,
        PayloadType::Keyword,
        PayloadType::Float,
        PayloadType::Boolean,
        PayloadType::Integer,
    ];
    for (path, payload_type) in PATHS.into_iter().zip(types) {
        config = config.with_payload(path, payload_type);
    }
    let collection = database.create_collection("books", config).unwrap();
    let mut payloads = BTreeMap::new();
    for (number, numbers) in [0..3000, 2700..3500, 3300..3900].into_iter().enumerate() {
        let point = |number: usize| {
            let payload = payload(&mut random);
            let point = Point::new(id(number)).with_vector("v", vec![1.0]);
            let point = point.with_payload(Payload::parse(&payload.to_string()).unwrap());
            payloads.insert(id(number), payload);
            point
        };
        collection.upsert(numbers.map(point).collect::<Vec<_>>()).unwrap();
        if number < 2 {
            collection.flush().unwrap();
        }
        let gone: Vec<PointId> = (0..40).map(|_| id(random.below(3000))).collect();
        gone.iter().for_each(|id| drop(payloads.remove(id)));
        collection.delete(gone, Durability::Buffered).unwrap();
    }
    assert_eq!(collection.count(), payloads.len() as u64);
    Books { _folder: folder, _database: database, collection, payloads }
}

/// All points, many and few of them, and none.
fn filters() -> Vec<Option<Filter>> {
    vec![
        None,
        Some(Filter::eq("open", true)),
        Some(Filter::range("year", Bounds::new().gte(2000).lt(2003))),
        Some(Filter::ids((0..40_u64).map(|number| number * 97)).and(!Filter::eq("lang", "en"))),
        Some(Filter::eq("lang", "nothing")),
    ]
}

impl Books {
    fn matching(&self, filter: &Option<Filter>) -> impl Iterator<Item = (&PointId, &Value)> {
        let passes = |id: &PointId, payload: &Value| {
            filter.as_ref().is_none_or(|filter| matches(filter, id, payload))
        };
        self.payloads.iter().filter(move |(id, payload)| passes(id, payload))
    }

    fn check_facets(&self) {
        for filter in filters() {
            for path in PATHS {
                let mut counts = BTreeMap::<Ordered, u64>::new();
                for (_, payload) in self.matching(&filter) {
                    values(payload, path)
                        .into_iter()
                        .for_each(|v| *counts.entry(v).or_default() += 1);
                }
                let mut expected: Vec<(Ordered, u64)> = counts.into_iter().collect();
                // Stable: of equal counts the smaller value comes first.
                expected.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                for limit in [1, 10, 10_000] {
                    let request =
                        FacetRequest { filter: filter.clone(), ..FacetRequest::new(path) };
                    let answer = self.collection.facet(&request.limit(limit)).unwrap();
                    let found = answer.counts.iter();
                    let found: Vec<(Ordered, u64)> =
                        found.map(|c| (ordered_filter_value(&c.value), c.count)).collect();
                    assert_eq!(found, expected[..limit.min(expected.len())], "{path} {filter:?}");
                    assert_eq!(answer.values, expected.len() as u64);
                }
            }
        }
    }

    /// The points in an order, of the payloads.
    fn expected(&self, filter: &Option<Filter>, order: &OrderBy) -> Vec<(Ordered, PointId)> {
        let first = |values: BTreeSet<Ordered>| match order.direction {
            Direction::Ascending => values.first().cloned(),
            Direction::Descending => values.last().cloned(),
        };
        let points = self.matching(filter);
        let place = |(id, payload): (&PointId, &Value)| {
            Some((first(values(payload, &order.path))?, id.clone()))
        };
        let mut expected: Vec<(Ordered, PointId)> = points.filter_map(place).collect();
        expected.sort_by(|(a, id), (b, other)| {
            let by_value = match order.direction {
                Direction::Ascending => a.cmp(b),
                Direction::Descending => b.cmp(a),
            };
            by_value.then_with(|| id.cmp(other))
        });
        expected
    }

    /// All pages of a scroll, and where each ended.
    fn pages(&self, request: &OrderedScroll) -> (Vec<PointId>, Vec<OrderPlace>) {
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        let mut request = request.clone();
        loop {
            let page = self.collection.scroll_ordered(&request).unwrap();
            assert!(page.points.len() <= request.limit);
            ids.extend(page.points.into_iter().map(|point| point.id));
            let Some(next) = page.next else { return (ids, places) };
            assert_eq!(ids.last(), Some(&next.id));
            places.push(next.clone());
            request = request.after(next);
        }
    }

    fn check_orders(&self) {
        for filter in filters() {
            for path in PATHS {
                for order in [OrderBy::ascending(path), OrderBy::descending(path)] {
                    let expected = self.expected(&filter, &order);
                    for limit in [10_000, 397] {
                        let request = OrderedScroll {
                            filter: filter.clone(),
                            ..OrderedScroll::new(order.clone())
                        };
                        let (ids, places) = self.pages(&request.limit(limit));
                        let wanted: Vec<PointId> =
                            expected.iter().map(|(_, id)| id.clone()).collect();
                        assert_eq!(ids, wanted, "{order:?} {filter:?} {limit}");
                        for place in places {
                            let shown = (ordered_filter_value(&place.value), place.id);
                            assert!(expected.contains(&shown), "{shown:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn values_are_counted_as_the_payloads_hold_them() {
    let books = books();
    assert_eq!(books.collection.info().segments.len(), 3);
    books.check_facets();
    books.collection.optimize().unwrap();
    assert_eq!(books.collection.info().segments.len(), 1);
    books.check_facets();
}

#[test]
fn ordered_pages_hold_each_point_with_a_value_once() {
    let books = books();
    books.check_orders();
    // One point a page: nothing depends on where pages end.
    let order = OrderBy::descending("lang");
    let few = Filter::range("year", Bounds::new().gte(2000).lt(2003));
    let request = OrderedScroll::new(order.clone()).filter(few.clone()).limit(1);
    let expected = books.expected(&Some(few), &order);
    let (ids, places) = books.pages(&request);
    assert_eq!(ids, expected.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>());
    assert_eq!(places.len(), ids.len() - 1);
    books.collection.optimize().unwrap();
    books.check_orders();
}

#[test]
fn a_page_starts_after_its_place_also_if_no_point_is_there() {
    let books = books();
    let order = OrderBy::ascending("year");
    let expected = books.expected(&None, &order);
    for (value, id) in [(2004, PointId::from("m")), (1800, 7.into()), (2029, "zz".into())] {
        let place = OrderPlace { value: value.into(), id: id.clone() };
        let request = OrderedScroll::new(order.clone()).after(place).limit(10_000);
        let (ids, _) = books.pages(&request);
        let after = (Ordered::Number(2 * i64::from(value)), id);
        let rest = expected.iter().filter(|place| **place > after).map(|(_, id)| id.clone());
        assert_eq!(ids, rest.collect::<Vec<_>>(), "{after:?}");
    }
}

#[test]
fn what_cannot_be_counted_or_ordered_is_refused_by_name() {
    let books = books();
    let facet = |request: FacetRequest| books.collection.facet(&request).unwrap_err().to_string();
    let error = facet(FacetRequest::new("tags"));
    assert!(error.starts_with("path.tags: the path is not declared"), "{error}");
    assert_eq!(facet(FacetRequest::new("lang").limit(0)), "limit: expected 1 to 10000, got 0");
    let error = facet(FacetRequest::new("lang").filter(Filter::eq("open", 7)));
    assert!(error.starts_with("filter.open: expected true or false"), "{error}");

    let scroll =
        |request: OrderedScroll| books.collection.scroll_ordered(&request).unwrap_err().to_string();
    let by = |path: &str| OrderedScroll::new(OrderBy::ascending(path));
    assert!(scroll(by("meta")).starts_with("order_by.meta: the path is not declared"));
    assert_eq!(scroll(by("year").limit(10_001)), "limit: expected 1 to 10000, got 10001");
    let place = |value: FilterValue| OrderPlace { value, id: 1.into() };
    let error = scroll(by("year").after(place("x".into())));
    assert!(error.starts_with("after.value: expected an integer") && error.contains("\"x\""));
    let nowhere = OrderPlace { value: 7.into(), id: "".into() };
    assert!(scroll(by("year").after(nowhere)).starts_with("after.id: expected a text id"));
}
