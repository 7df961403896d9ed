//! Resolves a filter against a collection into a condition, with validated, comparable values.

use std::borrow::Cow;

use serde_json::Value;

use super::{Bounds, Filter, FilterValue, PathTest};
use crate::model::payload_column::shortened;
use crate::model::payload_type::{Scalar, boolean, datetime_key, float_key, keyword};
use crate::model::{
    CollectionConfig, DeclaredPath, InvalidInput, PayloadType, PointId, Problem, TextQuery, limits,
};

/// A validated filter over the columns of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// All must hold; empty always holds.
    All(Vec<Condition>),
    /// Any must hold; empty never holds.
    Any(Vec<Condition>),
    /// Must not hold.
    Not(Box<Condition>),
    /// A declared path passes a test.
    Column {
        /// The path.
        path: DeclaredPath,
        /// The test.
        test: ColumnTest,
    },
    /// An undeclared path passes a test, which reads payloads.
    Path(PathTest),
    /// The text of a text field matches.
    Text {
        /// Index of the text field, by name.
        field: usize,
        /// Index of the path, by name; all paths of the field if not set.
        path: Option<usize>,
        /// What it matches; its words are required or excluded.
        query: TextQuery,
    },
    /// The point has one of these ids; distinct and sorted.
    Ids(Vec<PointId>),
}

/// A test of one column's values in a row; one passing value is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnTest {
    /// One of these terms; distinct and sorted.
    Terms(Vec<Box<str>>),
    /// A term other than these; distinct and sorted.
    OtherTerms(Vec<Box<str>>),
    /// A number in one of these intervals; disjoint and sorted.
    Numbers(Vec<Interval>),
    /// Any value.
    HasValue,
    /// `null`.
    IsNull,
}

/// A closed, non-empty interval of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// Lower end, inclusive.
    pub least: i64,
    /// Upper end, inclusive.
    pub most: i64,
}

/// True if a number lies in one of the intervals, which are disjoint and sorted.
#[inline]
pub(crate) fn in_intervals(intervals: &[Interval], number: i64) -> bool {
    let at = match intervals {
        [_] => 0,
        _ => intervals.partition_point(|interval| interval.most < number),
    };
    intervals.get(at).is_some_and(|interval| (interval.least..=interval.most).contains(&number))
}

impl Condition {
    /// True if any part reads payloads.
    pub(crate) fn reads_payloads(&self) -> bool {
        self.reads_payloads_where(&|_| true)
    }

    /// As [`Self::reads_payloads`], for a segment that has only the columns for which `has_column`
    /// is true.
    pub(crate) fn reads_payloads_where(&self, has_column: HasColumn<'_>) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().any(|part| part.reads_payloads_where(has_column))
            }
            Self::Not(part) => part.reads_payloads_where(has_column),
            Self::Path(_) => true,
            Self::Column { path, .. } => !has_column(path),
            Self::Text { .. } | Self::Ids(_) => false,
        }
    }

    /// Adapts the condition to a segment that has only the columns for which `has_column` is true:
    /// tests of missing columns become tests of payloads.
    pub(crate) fn fitted(&self, has_column: HasColumn<'_>) -> Cow<'_, Self> {
        let is_missing = |path: &DeclaredPath| !has_column(path);
        if !self.tests_any(&is_missing) {
            return Cow::Borrowed(self);
        }
        let fitted = |part: &Self| part.fitted(has_column).into_owned();
        Cow::Owned(match self {
            Self::All(parts) => Self::All(parts.iter().map(fitted).collect()),
            Self::Any(parts) => Self::Any(parts.iter().map(fitted).collect()),
            Self::Not(part) => Self::Not(Box::new(fitted(part))),
            Self::Column { path, test } => Self::Path(PathTest::declared(path, test.clone())),
            Self::Path(_) | Self::Text { .. } | Self::Ids(_) => self.clone(),
        })
    }

    /// True if it tests a declared path for which `is` holds.
    fn tests_any(&self, is: &dyn Fn(&DeclaredPath) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.tests_any(is)),
            Self::Not(part) => part.tests_any(is),
            Self::Column { path, .. } => is(path),
            Self::Path(_) | Self::Text { .. } | Self::Ids(_) => false,
        }
    }

    /// True if payloads alone decide the condition, see [`Self::holds`].
    pub(crate) fn is_of_payloads(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                !parts.is_empty() && parts.iter().all(Self::is_of_payloads)
            }
            Self::Not(part) => part.is_of_payloads(),
            Self::Path(_) => true,
            Self::Column { .. } | Self::Text { .. } | Self::Ids(_) => false,
        }
    }

    /// Evaluates the condition on a payload, which is an object. Tests of columns, terms and ids never
    /// hold, because a payload does not contain them.
    pub(crate) fn holds(&self, payload: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(payload)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(payload)),
            Self::Not(part) => !part.holds(payload),
            Self::Path(test) => test.passes(payload),
            Self::Column { .. } | Self::Text { .. } | Self::Ids(_) => false,
        }
    }
}

/// Tells whether a segment has a column for a path.
pub(crate) type HasColumn<'h> = &'h dyn Fn(&DeclaredPath) -> bool;

impl ColumnTest {
    /// True if the value passes.
    pub(super) fn passes(&self, value: Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Terms(terms), Scalar::Term(term)) => {
                terms.binary_search_by(|wanted| (**wanted).cmp(term)).is_ok()
            }
            (Self::OtherTerms(terms), Scalar::Term(term)) => {
                terms.binary_search_by(|other| (**other).cmp(term)).is_err()
            }
            (Self::Numbers(intervals), Scalar::Number(number)) => in_intervals(intervals, number),
            (Self::HasValue, _) => true,
            _ => false,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, InvalidInput>;

impl Filter {
    /// Checks the filter against a collection.
    ///
    /// # Errors
    /// [`InvalidInput`] at the location, such as `filter.and[2].year`: a value that does not have
    /// the declared type, values of several types for an undeclared path, a malformed path, a range
    /// over an unordered type, or a filter that is too deep or too large.
    pub fn resolve(&self, config: &CollectionConfig) -> Result<Condition> {
        Resolver { config, nodes: 0, values: 0, ids: 0 }.resolve(self, "filter", 1)
    }
}

/// The error for a filter that is nested too deeply.
pub(super) fn too_deep(path: &str) -> InvalidInput {
    let path = path.chars().take(80).collect::<String>();
    let (expected, got) = ("at most 32 levels", "more".into());
    InvalidInput::new(path, Problem::Mismatch { expected, got })
}

/// Resolves a filter and counts its parts, since many small parts can add up to too many.
struct Resolver<'c> {
    config: &'c CollectionConfig,
    nodes: usize,
    values: usize,
    ids: usize,
}

impl Resolver<'_> {
    fn resolve(&mut self, filter: &Filter, path: &str, depth: usize) -> Result<Condition> {
        if depth > limits::MAX_FILTER_DEPTH {
            return Err(too_deep(path));
        }
        count(&mut self.nodes, 1, limits::MAX_FILTER_NODES, path, "at most 1024 parts")?;
        let mut list = |filters: &[Filter], word: &str| -> Result<Vec<Condition>> {
            let resolve = |(at, filter): (usize, &Filter)| {
                self.resolve(filter, &format!("{path}.{word}[{at}]"), depth + 1)
            };
            filters.iter().enumerate().map(resolve).collect()
        };
        match filter {
            Filter::And(filters) => Ok(Condition::All(list(filters, "and")?)),
            Filter::Or(filters) => Ok(Condition::Any(list(filters, "or")?)),
            Filter::Not(filter) => {
                let inside = self.resolve(filter, &format!("{path}.not"), depth + 1)?;
                Ok(Condition::Not(Box::new(inside)))
            }
            Filter::Ids(ids) => self.ids(ids, path),
            Filter::Match { field, text } => self.text(field, text, path),
            Filter::Eq { field, value } => self.values(field, std::slice::from_ref(value), path),
            Filter::In { field, values } => {
                let most = limits::MAX_FILTER_VALUES;
                count(&mut self.values, values.len(), most, path, "at most 10000 values")?;
                self.values(field, values, path)
            }
            Filter::Range { field, bounds } => {
                let at = place(path, field);
                match self.config.declared_path(field) {
                    Some(path) => Ok(path.passes(range(path.payload_type, bounds, &at)?)),
                    None => PathTest::within(field, bounds, &at).map(Condition::Path),
                }
            }
            Filter::Exists { field } => match self.config.declared_path(field) {
                Some(path) => Ok(path.passes(ColumnTest::HasValue)),
                None => PathTest::has_value(field, &place(path, field)).map(Condition::Path),
            },
            Filter::IsNull { field } => match self.config.declared_path(field) {
                Some(path) => Ok(path.passes(ColumnTest::IsNull)),
                None => PathTest::is_null(field, &place(path, field)).map(Condition::Path),
            },
        }
    }

    fn text(&mut self, field: &str, text: &str, path: &str) -> Result<Condition> {
        let at = place(path, field);
        let query = TextQuery::parse_required(text)
            .and_then(|query| query.validate().map(|()| query))
            .map_err(|error| InvalidInput::new(&at, error.problem))?;
        let mut fields = self.config.text.iter().enumerate();
        let found = fields.find_map(|(index, (name, settings))| match name == field {
            true => Some((index, None)),
            false => settings.path(field).map(|path| (index, Some(path))),
        });
        let Some((field, path)) = found else {
            let paths = self.config.text.values().flat_map(|field| field.paths.keys());
            let known: Vec<&str> =
                self.config.text.keys().chain(paths).map(String::as_str).collect();
            let expected = "a text field, or a path of one";
            let got = match known.is_empty() {
                true => "another path; the collection has no text field".to_owned(),
                false => format!("another path; the collection has: {}", known.join(", ")),
            };
            return Err(InvalidInput::mismatch(at, expected, got));
        };
        Ok(Condition::Text { field, path, query })
    }

    fn ids(&mut self, ids: &[PointId], path: &str) -> Result<Condition> {
        count(&mut self.ids, ids.len(), limits::MAX_FILTER_IDS, path, "at most 100000 ids")?;
        for (index, id) in ids.iter().enumerate() {
            id.validate().map_err(|error| {
                InvalidInput::new(format!("{path}.ids[{index}]"), error.problem)
            })?;
        }
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        Ok(Condition::Ids(ids))
    }

    fn values(&self, field: &str, wanted: &[FilterValue], path: &str) -> Result<Condition> {
        let at = place(path, field);
        match self.config.declared_path(field) {
            Some(path) => Ok(path.passes(values(path.payload_type, wanted, &at)?)),
            None => PathTest::one_of(field, wanted, &at).map(Condition::Path),
        }
    }
}

/// Location of a test in the filter.
fn place(path: &str, field: &str) -> String {
    format!("{path}.{}", field.chars().take(80).collect::<String>())
}

fn count(
    counter: &mut usize,
    more: usize,
    most: usize,
    path: &str,
    expected: &'static str,
) -> Result<()> {
    *counter += more;
    if *counter <= most {
        return Ok(());
    }
    let got = format!("{counter} up to here");
    Err(InvalidInput::new(path, Problem::Mismatch { expected, got }))
}

impl DeclaredPath {
    /// The condition that the path passes a test.
    pub(crate) fn passes(&self, test: ColumnTest) -> Condition {
        Condition::Column { path: self.clone(), test }
    }
}

impl PayloadType {
    /// Converts a value to its form in columns of this type.
    ///
    /// # Errors
    /// [`Problem::Mismatch`] at `path` for a value of another type.
    pub(crate) fn scalar<'v>(self, value: &'v FilterValue, path: &str) -> Result<Scalar<'v>> {
        scalar(self, value, path)
    }
}

/// Converts a value to its form in columns of this type.
fn scalar<'v>(payload_type: PayloadType, value: &'v FilterValue, path: &str) -> Result<Scalar<'v>> {
    let found = match (payload_type, value) {
        (PayloadType::Keyword, FilterValue::Text(text)) => keyword(text),
        (PayloadType::Boolean, FilterValue::Boolean(value)) => Some(boolean(*value)),
        (PayloadType::Integer, FilterValue::Integer(number)) => Some(Scalar::Number(*number)),
        (PayloadType::Integer, FilterValue::Float(number)) => whole(*number).map(Scalar::Number),
        (PayloadType::Float, FilterValue::Integer(number)) => {
            Some(Scalar::Number(float_key(*number as f64)))
        }
        (PayloadType::Float, FilterValue::Float(number)) => {
            number.is_finite().then(|| Scalar::Number(float_key(*number)))
        }
        (PayloadType::Datetime, FilterValue::Text(text)) => datetime_key(text).map(Scalar::Number),
        _ => None,
    };
    found.ok_or_else(|| {
        let (expected, got) = (payload_type.expected(), shortened(&value.to_json()));
        InvalidInput::new(path, Problem::Mismatch { expected, got })
    })
}

/// The integer equal to a float, if there is one.
pub(super) fn whole(number: f64) -> Option<i64> {
    // The bounds are floats: −2^63 is an i64, 2^63 is not.
    let fits = number >= i64::MIN as f64 && number < i64::MAX as f64 && number.fract() == 0.0;
    fits.then_some(number as i64)
}

pub(super) fn values<'v>(
    payload_type: PayloadType,
    wanted: impl IntoIterator<Item = &'v FilterValue>,
    path: &str,
) -> Result<ColumnTest> {
    let (mut terms, mut numbers) = (Vec::new(), Vec::new());
    for value in wanted {
        match scalar(payload_type, value, path)? {
            Scalar::Term(term) => terms.push(Box::from(term)),
            Scalar::Number(number) => numbers.push(Interval { least: number, most: number }),
        }
    }
    if payload_type.is_terms() {
        terms.sort_unstable();
        terms.dedup();
        return Ok(ColumnTest::Terms(terms));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(ColumnTest::Numbers(numbers))
}

pub(super) fn range(payload_type: PayloadType, bounds: &Bounds, path: &str) -> Result<ColumnTest> {
    if !payload_type.is_ordered() {
        let expected = "a range of integers, floats or datetimes";
        let got = format!("a range of {}s; use `eq` or `in`", payload_type.as_str());
        return Err(InvalidInput::new(path, Problem::Mismatch { expected, got }));
    }
    let Bounds { gt, gte, lt, lte } = bounds;
    if [gt, gte, lt, lte].iter().all(|bound| bound.is_none()) {
        let expected = "one of `gt`, `gte`, `lt` and `lte`";
        return Err(InvalidInput::new(path, Problem::Missing { expected }));
    }
    // The integers on both sides of a bound: equal unless the bound lies between two integers.
    let key = |bound: &Option<FilterValue>| -> Result<Option<(i128, i128)>> {
        let Some(value) = bound else { return Ok(None) };
        if let (PayloadType::Integer, FilterValue::Float(number)) = (payload_type, value)
            && number.is_finite()
        {
            return Ok(Some((number.floor() as i128, number.ceil() as i128)));
        }
        Ok(match scalar(payload_type, value, path)? {
            Scalar::Number(number) => Some((number.into(), number.into())),
            Scalar::Term(_) => None,
        })
    };
    // In i128, where a successor and predecessor always exist.
    let above = key(gt)?.map(|(floor, _)| floor.saturating_add(1));
    let below = key(lt)?.map(|(_, ceil)| ceil.saturating_sub(1));
    let least = above.into_iter().chain(key(gte)?.map(|(_, ceil)| ceil)).max();
    let most = below.into_iter().chain(key(lte)?.map(|(floor, _)| floor)).min();
    let least = least.unwrap_or(i64::MIN.into()).max(i64::MIN.into());
    let most = most.unwrap_or(i64::MAX.into()).min(i64::MAX.into());
    Ok(ColumnTest::Numbers(match (i64::try_from(least), i64::try_from(most)) {
        (Ok(least), Ok(most)) if least <= most => vec![Interval { least, most }],
        _ => Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CollectionConfig {
        CollectionConfig::new()
            .with_payload("at", PayloadType::Datetime)
            .with_payload("lang", PayloadType::Keyword)
            .with_payload("meta.year", PayloadType::Integer)
            .with_payload("open", PayloadType::Boolean)
            .with_payload("price", PayloadType::Float)
    }

    fn test(filter: Filter) -> ColumnTest {
        match filter.resolve(&config()).unwrap() {
            Condition::Column { test, .. } => test,
            other => panic!("{other:?}"),
        }
    }

    fn years(bounds: Bounds) -> Vec<(i64, i64)> {
        match test(Filter::range("meta.year", bounds)) {
            ColumnTest::Numbers(intervals) => {
                intervals.iter().map(|interval| (interval.least, interval.most)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounds_become_one_interval_or_none() {
        let bounds = Bounds::new;
        assert_eq!(years(bounds().gte(2000).lt(2010)), [(2000, 2009)]);
        assert_eq!(years(bounds().gt(2000).gte(1990)), [(2001, i64::MAX)]);
        assert_eq!(years(bounds().lte(5).lt(5)), [(i64::MIN, 4)]);
        assert_eq!(years(bounds().gte(5.0).lte(5)), [(5, 5)]);
        assert_eq!(years(bounds().gt(5).lt(6)), []);
        assert_eq!(years(bounds().gt(i64::MAX)), []);
        assert_eq!(years(bounds().gte(1.5).lte(3.5)), [(2, 3)]);
        assert_eq!(years(bounds().gt(1.5).lt(3.5)), [(2, 3)]);
        assert_eq!(years(bounds().gt(1.2).lt(1.8)), []);
        assert_eq!(years(bounds().lte(1e19).gt(-1e300)), [(i64::MIN, i64::MAX)]);
        assert_eq!(years(bounds().gte(1e19)), []);
        assert_eq!(years(bounds().lt(i64::MIN)), []);
        assert_eq!(years(bounds().gte(i64::MIN).lte(i64::MAX)), [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn values_are_sorted_distinct_and_of_the_type_of_the_path() {
        let terms = ColumnTest::Terms(vec!["de".into(), "en".into()]);
        assert_eq!(test(Filter::one_of("lang", ["en", "de", "en"])), terms);
        let truth = ColumnTest::Terms(vec!["true".into()]);
        assert_eq!(test(Filter::eq("open", true)), truth);
        assert_eq!(test(Filter::eq("price", 3)), test(Filter::eq("price", 3.0)));
        assert_eq!(test(Filter::eq("price", 0.0)), test(Filter::eq("price", -0.0)));
        let midnight = Filter::eq("at", "2024-05-01");
        assert_eq!(test(midnight), test(Filter::eq("at", "2024-05-01T02:00:00+02:00")));
        let utc = Filter::eq("at", "2024-05-01T12:00:00");
        assert_eq!(test(utc), test(Filter::eq("at", "2024-05-01T12:00:00Z")));
        let end = Filter::eq("at", "9999-12-31T23:59:59.999999Z");
        let last = 253_402_300_800_000_000 - 1;
        assert_eq!(test(end), ColumnTest::Numbers(vec![Interval { least: last, most: last }]));
        let midnight = test(Filter::eq("at", "9999-12-31"));
        assert_eq!(midnight, test(Filter::eq("at", "9999-12-31T01:00:00+01:00")));
    }

    #[test]
    fn intervals_contain_what_they_should() {
        let intervals = [(1, 1), (3, 5), (9, 9)].map(|(least, most)| Interval { least, most });
        let inside: Vec<i64> = (0..11).filter(|&n| in_intervals(&intervals, n)).collect();
        assert_eq!(inside, [1, 3, 4, 5, 9]);
        assert!(!in_intervals(&[], 0) && !in_intervals(&intervals[..1], 2));
    }

    #[test]
    fn refusals_name_the_place_and_say_what_would_do() {
        let nested = Filter::all([Filter::ids([1]), !Filter::any([Filter::eq("meta.year", "x")])]);
        let cases = [
            (
                nested,
                "filter.and[1].not.or[0].meta.year: expected an integer of 64 bits with a sign, \
                 got \"x\"",
            ),
            (
                Filter::eq("meta.year", "2000"),
                "filter.meta.year: expected an integer of 64 bits with a sign, got \"2000\"",
            ),
            (
                Filter::eq("meta.year", 1.5),
                "filter.meta.year: expected an integer of 64 bits with a sign, got 1.5",
            ),
            (Filter::eq("price", f64::NAN), "filter.price: expected a number, got null"),
            (Filter::one_of("open", [1]), "filter.open: expected true or false, got 1"),
            (
                Filter::eq("at", "May"),
                "filter.at: expected an RFC 3339 date and time like 2024-05-01T12:00:00Z, \
                 or a date, got \"May\"",
            ),
            (
                Filter::range("lang", Bounds::new().gt("a")),
                "filter.lang: expected a range of integers, floats or datetimes, \
                 got a range of keywords; use `eq` or `in`",
            ),
            (
                Filter::range("price", Bounds::new()),
                "filter.price: expected one of `gt`, `gte`, `lt` and `lte`, got nothing",
            ),
            (
                Filter::all([Filter::ids(["a", ""])]),
                "filter.and[0].ids[1]: expected a text id of 1 to 512 bytes, got 0 bytes",
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.resolve(&config()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn parts_of_payloads_alone_are_known() {
        let condition = |filter: Filter| filter.resolve(&config()).unwrap();
        let undeclared = || Filter::eq("year", 3);
        let alone = condition(!undeclared().and(Filter::exists("a").or(undeclared())));
        assert!(alone.is_of_payloads() && alone.reads_payloads());
        for other in [Filter::eq("lang", "en"), Filter::ids([1]), Filter::all([])] {
            assert!(!condition(other.clone()).reads_payloads());
            let mixed = condition(other.or(!undeclared()));
            assert!(mixed.reads_payloads() && !mixed.is_of_payloads());
        }
    }

    #[test]
    fn tests_of_missing_columns_are_made_of_payloads() {
        let has_column = |path: &DeclaredPath| &*path.name != "meta.year";
        let (here, missing) = (Filter::eq("lang", "en"), Filter::eq("meta.year", 2000));
        let complete = here.clone().and(Filter::ids([1])).resolve(&config()).unwrap();
        assert!(matches!(complete.fitted(&has_column), Cow::Borrowed(_)));
        assert!(!complete.reads_payloads_where(&has_column));
        let mixed = here.and(!missing.or(Filter::exists("x"))).resolve(&config()).unwrap();
        assert!(mixed.reads_payloads_where(&has_column));
        let Condition::All(parts) = mixed.fitted(&has_column).into_owned() else { panic!("all") };
        assert!(matches!(parts[0], Condition::Column { .. }) && parts[1].is_of_payloads());
    }

    #[test]
    fn a_payload_passes_as_a_column_does() {
        let payload = serde_json::json!({
            "at": "2024-05-01T02:00:00+02:00", "lang": ["de", null], "meta": {"year": [1999, 2001]},
            "open": false, "price": 2,
        });
        let passes = |filter: Filter| {
            let condition = filter.resolve(&config()).unwrap();
            condition.fitted(&|_| false).holds(&payload)
        };
        let bounds = Bounds::new;
        assert!(passes(Filter::eq("at", "2024-05-01")), "by the type, not as texts");
        assert!(passes(Filter::one_of("lang", ["de", "en"])) && !passes(Filter::eq("lang", "en")));
        assert!(passes(Filter::range("meta.year", bounds().gt(2000))));
        assert!(!passes(Filter::range("meta.year", bounds().gt(1999).lt(2001))));
        assert!(passes(Filter::eq("open", false)) && passes(Filter::eq("price", 2.0)));
        assert!(passes(Filter::is_null("lang")) && !passes(Filter::is_null("price")));
        assert!(passes(Filter::exists("lang")) && passes(!Filter::eq("meta.year", 2000)));
        let path = config().declared_path("lang").unwrap();
        let others = |terms: &[&str]| {
            let terms = terms.iter().map(|&term| term.into()).collect();
            let condition = path.passes(ColumnTest::OtherTerms(terms));
            condition.fitted(&|_| false).holds(&payload)
        };
        assert!(others(&["en"]) && !others(&["de", "en"]));
    }

    #[test]
    fn size_is_bounded_over_all_parts() {
        let refused = |filter: Filter| filter.resolve(&config()).unwrap_err().to_string();
        let deep = (0..limits::MAX_FILTER_DEPTH).fold(Filter::ids([1]), |filter, _| !filter);
        assert!(refused(deep).ends_with("expected at most 32 levels, got more"));
        let parts = Filter::all((0..limits::MAX_FILTER_NODES).map(|_| Filter::exists("lang")));
        assert_eq!(
            refused(parts),
            "filter.and[1023]: expected at most 1024 parts, got 1025 up to here"
        );
        let half = || Filter::one_of("meta.year", 0..limits::MAX_FILTER_VALUES as i64 / 2 + 1);
        assert!(half().resolve(&config()).is_ok());
        assert!(refused(half().and(half())).contains("expected at most 10000 values"));
        let half = || Filter::ids(0..limits::MAX_FILTER_IDS as u64 / 2 + 1);
        assert!(refused(half().and(half())).contains("expected at most 100000 ids"));
    }
}
