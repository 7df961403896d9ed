//! Grouped queries: the best hits of the best groups of points that share a value of a payload
//! path.
//!
//! Groups are found in rounds. Each round searches for the best points with a value that belongs to
//! no known group, so a group with many near points is skipped in one step. Rounds end when nothing
//! better than the wanted groups is left. Each wanted group, and as many again after them, is then
//! searched for its own best hits, by vectors where it has few points. Groups are ranked by these
//! hits.
//!
//! A group is lost only if its best point is missed: by the last round if the group is unknown,
//! otherwise by the search of the group. [`Rounds::loss`] and [`Grouping::loss`] bound the
//! frequency of this from the recall estimates of these searches.

use std::collections::{BTreeMap, HashSet};

use roaring::RoaringBitmap;

use super::Deadline;
use super::bound::AnyBound;
use super::highlight::Highlighter;
use super::pieces::Ground;
use super::request::{Explanation, Hit, QueryRequest, QueryResponse, Stage};
use crate::error::{Error, Result};
use crate::model::{
    ColumnTest, Condition, DeclaredPath, FilterValue, Include, Interval, InvalidInput, Key,
    PointId, Score, check_range, limits,
};
use crate::segment::{Location, Snapshot};

/// Hits of a round, and groups to search, per wanted group: twice as many show that none is
/// missing.
const WIDTH: usize = 2;
/// In segments with codes, groups up to this size are searched by their vectors.
const FEW_POINTS: u64 = 10_000;
/// Number of groups searched in one batch.
const BATCH_GROUPS: usize = 64;
/// Factor by which the miss rate of a round is below the tolerated one; for the search of a group,
/// this factor for each of its hits. By the bounds below, the total then stays within the tolerated
/// miss rate.
const ROUND_SHARE: f32 = 5.0;
/// Searches with a higher target recall are exact.
const MOST_TARGET: f32 = 0.999;

/// A grouped query.
///
/// ```
/// use lanner::{GroupRequest, QueryRequest};
///
/// // The five best documents, with up to two passages of each.
/// let query = QueryRequest::new("text", vec![0.1, 0.2, 0.3]).limit(5).with_payload();
/// let request = GroupRequest::new(query, "document").group_size(2);
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRequest {
    /// The query. Its `limit` is the number of groups, 1 to 1,000; `offset` must be 0 and `rescore`
    /// not set.
    pub query: QueryRequest,
    /// A declared payload path. Points with the same value form a group; a point with several
    /// values belongs to several groups, one without a value to none.
    pub path: String,
    /// Maximum number of hits per group, 1 to 1,000; groups times hits at most 10,000.
    pub group_size: usize,
}

impl GroupRequest {
    /// The best groups of a query by a path, with up to three hits each.
    pub fn new(query: QueryRequest, path: impl Into<String>) -> Self {
        Self { query, path: path.into(), group_size: 3 }
    }

    /// Sets the maximum number of hits per group.
    #[must_use]
    pub fn group_size(self, group_size: usize) -> Self {
        Self { group_size, ..self }
    }

    fn validate(&self) -> Result<(), InvalidInput> {
        let (groups, size) = (self.query.limit, self.group_size);
        check_range("limit", 1, limits::MAX_GROUPS, groups)?;
        check_range("group_size", 1, limits::MAX_GROUP_SIZE, size)?;
        check_range("limit * group_size", 1, limits::MAX_QUERY_LIMIT, groups * size)?;
        if self.query.offset > 0 {
            let expected = "0 in a query by groups";
            return Err(InvalidInput::mismatch("offset", expected, self.query.offset));
        }
        match &self.query.rescore {
            Some(rescore) => {
                let expected = "no second stage in a query by groups";
                Err(InvalidInput::mismatch("rescore", expected, &rescore.field))
            }
            None => Ok(()),
        }
    }
}

/// Hits with the same value.
#[derive(Debug, Clone, PartialEq)]
pub struct HitGroup {
    /// The value; a datetime as RFC 3339 text in UTC.
    pub value: FilterValue,
    /// The best points with this value, best first; at least one.
    pub hits: Vec<Hit>,
}

/// The response to a [`GroupRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct GroupResponse {
    /// Groups, ordered by their best hit; ties (one point in several groups) by value.
    pub groups: Vec<HitGroup>,
    /// Sequence number of the last write visible to the query.
    pub sequence: u64,
    /// Recall estimate: the share of a group's exact hits that was found, as a mean over the exact
    /// groups, with 0 for a missing group. A lower bound like [`QueryResponse::estimated_recall`],
    /// and lower than that of the underlying searches, since a single point they miss may be a
    /// whole group.
    pub estimated_recall: Option<f32>,
    /// How the query was executed, if the request set `explain`.
    pub explanation: Option<Explanation>,
}

/// Executes a grouped query.
///
/// # Errors
/// [`Error::Invalid`], [`Error::PointNotFound`], as [`Deadline::check`], [`Error::Exhausted`], or if a
/// sealed file is damaged.
pub(crate) fn group(
    ground: &Ground<'_>,
    request: &GroupRequest,
    deadline: &Deadline,
) -> Result<GroupResponse> {
    request.validate()?;
    let path = ground.snapshot.indexed_path(&request.path, "group_by")?;
    let bound = AnyBound::new(ground.snapshot, ground.config, &request.query)?;
    bound.noted(ground.note);
    let field = match &bound {
        AnyBound::Vectors(bound) => Some(bound.field),
        AnyBound::Text(_) => None,
    };
    let payload_type = path.payload_type;
    let grouping = Grouping { ground, request, path, field, deadline };
    let rounds = grouping.rounds(bound.condition())?;
    let mut stages = rounds.stages;
    let mut searched = grouping.search_groups(rounds.groups, &mut stages)?;
    let loss = grouping.loss(&searched);
    let loss = rounds.loss.zip(loss).map(|(of_rounds, of_groups)| of_rounds + of_groups);
    searched.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
    searched.truncate(request.query.limit);
    let mut highlighter = Highlighter::new(ground, &request.query)?;
    let mut fetch = |hit: Hit| -> Result<Hit> {
        let mut fragments = Vec::new();
        if let Some(highlighter) = &mut highlighter {
            fragments = ground.fragments(highlighter, &hit.point.id)?;
        }
        Ok(Hit { point: ground.fetch(hit.point, request.query.include)?, fragments, ..hit })
    };
    let shown = |group: Searched| -> Result<HitGroup> {
        let hits = group.hits.into_iter().map(&mut fetch).collect::<Result<_>>()?;
        Ok(HitGroup { value: group.key.value(payload_type), hits })
    };
    Ok(GroupResponse {
        groups: searched.into_iter().map(shown).collect::<Result<_>>()?,
        sequence: ground.snapshot.sequence,
        estimated_recall: loss.map(|loss| (1.0 - loss).max(0.0) as f32),
        explanation: request.query.explain.then_some(Explanation { stages }),
    })
}

struct Grouping<'g> {
    ground: &'g Ground<'g>,
    request: &'g GroupRequest,
    path: DeclaredPath,
    /// Index of the vector field that is searched; `None` for a text field.
    field: Option<usize>,
    deadline: &'g Deadline,
}

/// Ranks hits: a higher score first, then a smaller id.
type Rank = (std::cmp::Reverse<Score>, PointId);

fn rank(hit: &Hit) -> Rank {
    (std::cmp::Reverse(Score(hit.score)), hit.point.id.clone())
}

/// A group of which the rounds have found a point.
struct Known {
    key: Key,
    /// Rank of the best point found.
    best: Rank,
}

/// Result of the rounds.
struct Rounds {
    /// The best groups, best first: twice as many as wanted.
    groups: Vec<Key>,
    /// Upper bound of the expected share of lost groups; `None` if unknown.
    loss: Option<f64>,
    stages: Vec<Stage>,
}

/// A group with its hits, at least one.
struct Searched {
    key: Key,
    hits: Vec<Hit>,
    estimate: Option<f32>,
}

impl Searched {
    fn rank(&self) -> (Option<Rank>, &Key) {
        (self.hits.first().map(rank), &self.key)
    }
}

impl Grouping<'_> {
    /// Finds the best groups.
    fn rounds(&self, condition: Option<&Condition>) -> Result<Rounds> {
        let wanted = self.request.query.limit;
        let width = WIDTH * wanted;
        let (mut known, mut keys) = (Vec::<Known>::new(), HashSet::new());
        let (mut length, mut stages) = (width, Vec::new());
        loop {
            let others = self.others(&keys);
            let query = self.search(length, ROUND_SHARE);
            let mut answers = self.answer(&[(query, self.column(others.clone()))])?;
            let answer = answers.pop().ok_or_else(lost)?;
            stages.extend(answer.explanation.into_iter().flat_map(|found| found.stages));
            for (hit, values) in answer.hits.iter().zip(self.values(&answer.hits)?) {
                let new = values.into_iter().filter(|key| keys.insert(key.clone()));
                known.extend(new.map(|key| Known { key, best: rank(hit) }));
            }
            known.sort_unstable_by(|a, b| (&a.best, &a.key).cmp(&(&b.best, &b.key)));
            let is_last = answer.hits.len() < length;
            // Hits at least as good as the wanted groups.
            let good = match known.get(wanted - 1) {
                Some(last) => answer.hits.iter().take_while(|hit| rank(hit) <= last.best).count(),
                None => answer.hits.len(),
            };
            let settled = known.len() >= wanted && 2 * good <= length;
            if is_last || (settled && length == width) {
                let round = Round { length, good, groups: known.len().min(wanted) };
                let mut loss = answer.estimated_recall.map(|recall| round.loss(recall));
                if is_last && loss.is_some_and(|loss| loss > 0.0) {
                    let condition = all(condition, self.column(others));
                    let left = self.left(&condition, answer.hits.len())?;
                    loss = loss.map(|loss| loss.min(left / round.groups.max(1) as f64));
                }
                known.truncate(width);
                let groups = known.into_iter().map(|group| group.key).collect();
                return Ok(Rounds { groups, loss, stages });
            }
            // Groups after the wanted ones may improve in the next round.
            known.truncate(width);
            keys = known.iter().map(|group| group.key.clone()).collect();
            // A few groups hold many of the best points: skip them in larger steps.
            length = if settled { width } else { (2 * length).min(limits::MAX_QUERY_LIMIT) };
        }
    }

    /// Number of rows that match a condition, less the `found` ones: an upper bound of the rows
    /// missed.
    fn left(&self, condition: &Condition, found: usize) -> Result<f64> {
        let matching = self.ground.snapshot.matching(condition)?;
        let rows: u64 = matching.iter().map(RoaringBitmap::len).sum();
        Ok(rows.saturating_sub(found as u64) as f64)
    }

    /// Searches each group for its best hits.
    fn search_groups(&self, keys: Vec<Key>, stages: &mut Vec<Stage>) -> Result<Vec<Searched>> {
        let size = self.request.group_size;
        let mut sums = BTreeMap::<(String, String), Stage>::new();
        let mut searched = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH_GROUPS) {
            let search = |key: &Key| -> Result<(QueryRequest, Condition)> {
                let condition = self.column(with_value(key));
                let mut query = self.search(size, ROUND_SHARE * size as f32);
                if self.points_by_codes(&condition)? <= FEW_POINTS {
                    query = query.exact();
                }
                Ok((query, condition))
            };
            let searches = keys.iter().map(search).collect::<Result<Vec<_>>>()?;
            for (key, answer) in keys.iter().zip(self.answer(&searches)?) {
                for stage in answer.explanation.into_iter().flat_map(|found| found.stages) {
                    add(&mut sums, stage);
                }
                if !answer.hits.is_empty() {
                    let (key, estimate) = (key.clone(), answer.estimated_recall);
                    searched.push(Searched { key, hits: answer.hits, estimate });
                }
            }
        }
        stages.extend(sums.into_values());
        Ok(searched)
    }

    /// Upper bound of the expected share of groups lost by their own searches: a missed hit may be
    /// the group's best, and without it the whole group may be dropped. Takes the lowest estimate
    /// of all groups, since any of them may be wanted.
    fn loss(&self, searched: &[Searched]) -> Option<f64> {
        let size = self.request.group_size as f64;
        searched.iter().try_fold(0.0_f64, |most, group| {
            let missed = size * (1.0 - f64::from(group.estimate?));
            Some(most.max(missed.min(1.0)))
        })
    }

    /// The query for `hits` ids and scores, with the tolerated miss rate divided by `share`.
    fn search(&self, hits: usize, share: f32) -> QueryRequest {
        let query = &self.request.query;
        let mut params = query.params;
        params.rerank = params.rerank.map(|rerank| rerank.max(hits));
        let target = params.target_recall.map(|target| 1.0 - (1.0 - target) / share);
        params.target_recall = target.filter(|&target| target <= MOST_TARGET);
        params.exact |= target.is_some() && params.target_recall.is_none();
        QueryRequest { limit: hits, include: Include::NOTHING, params, ..query.clone() }
    }

    /// Executes queries, each restricted to points that match its condition.
    fn answer(&self, searches: &[(QueryRequest, Condition)]) -> Result<Vec<QueryResponse>> {
        self.ground.answer_within(searches, self.deadline)
    }

    /// Upper bound of the points that match a condition and are found by codes.
    fn points_by_codes(&self, condition: &Condition) -> Result<u64> {
        let Some(field) = self.field else { return Ok(0) };
        let views = self.ground.snapshot.views.iter();
        let coded = views.filter(|view| view.reader.field(field).codes().is_some());
        coded.map(|view| Ok(view.reader.filter(condition)?.cardinality().most)).sum()
    }

    fn column(&self, test: ColumnTest) -> Condition {
        self.path.passes(test)
    }

    /// Test for a value that is none of these.
    fn others(&self, keys: &HashSet<Key>) -> ColumnTest {
        let (mut terms, mut numbers) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::Term(term) => terms.push(term.clone()),
                Key::Number(number) => numbers.push(*number),
            }
        }
        if self.path.payload_type.is_terms() {
            terms.sort_unstable();
            return ColumnTest::OtherTerms(terms);
        }
        numbers.sort_unstable();
        ColumnTest::Numbers(gaps(&numbers))
    }

    /// The values of each hit.
    fn values(&self, hits: &[Hit]) -> Result<Vec<Vec<Key>>> {
        let snapshot: &Snapshot = self.ground.snapshot;
        let mut places = BTreeMap::new();
        let mut rows = BTreeMap::<u32, RoaringBitmap>::new();
        for (place, hit) in hits.iter().enumerate() {
            let location = snapshot.find(&hit.point.id)?.ok_or_else(lost)?;
            rows.entry(location.view).or_default().insert(location.row);
            places.insert(location, place);
        }
        let mut values = vec![Vec::new(); hits.len()];
        for (view, rows) in rows {
            let reader = &snapshot.views[view as usize].reader;
            reader.visit_values(&self.path, &rows, &mut |row, scalar| {
                if let Some(&place) = places.get(&Location { view, row }) {
                    values[place].push(Key::from(scalar));
                }
            })?;
        }
        Ok(values)
    }
}

/// The last round.
struct Round {
    /// Number of hits requested.
    length: usize,
    /// Hits at least as good as the wanted groups.
    good: usize,
    /// Number of groups wanted, or fewer if there are no more.
    groups: usize,
}

impl Round {
    /// Upper bound of the expected share of lost groups, given the recall of the round.
    ///
    /// The best point of a lost group is among the exact hits that this round misses, `missed` on
    /// average. Only these matter, unless there are so many that the exact hits end before the last
    /// group: at least `length - good`, with a probability of at most `missed / (length - good)`
    /// (Markov's inequality); then all groups may be lost.
    fn loss(&self, recall: f32) -> f64 {
        let missed = (1.0 - f64::from(recall)) * self.length as f64;
        let spare = self.length.saturating_sub(self.good).max(1) as f64;
        (missed / self.groups.max(1) as f64 + missed / spare).min(1.0)
    }
}

/// Test for one value.
fn with_value(key: &Key) -> ColumnTest {
    match key {
        Key::Term(term) => ColumnTest::Terms(vec![term.clone()]),
        Key::Number(number) => {
            ColumnTest::Numbers(vec![Interval { least: *number, most: *number }])
        }
    }
}

/// The intervals between `numbers`, which are sorted.
fn gaps(numbers: &[i64]) -> Vec<Interval> {
    let mut gaps = Vec::with_capacity(numbers.len() + 1);
    let mut least = Some(i64::MIN);
    for &number in numbers {
        if let Some(least) = least.filter(|&least| least < number) {
            gaps.push(Interval { least, most: number - 1 });
        }
        least = number.checked_add(1);
    }
    gaps.extend(least.map(|least| Interval { least, most: i64::MAX }));
    gaps
}

/// The conjunction of both conditions.
fn all(condition: Option<&Condition>, other: Condition) -> Condition {
    match condition {
        Some(condition) => Condition::All(vec![condition.clone(), other]),
        None => other,
    }
}

/// Adds a stage of one of several searches that run together.
fn add(sums: &mut BTreeMap<(String, String), Stage>, stage: Stage) {
    let sum = sums.entry((stage.name.clone(), stage.source.clone()));
    sum.and_modify(|sum| {
        sum.rows += stage.rows;
        sum.bytes += stage.bytes;
        sum.micros = sum.micros.max(stage.micros);
    })
    .or_insert(stage);
}

fn lost() -> Error {
    Error::Internal("a hit of a query by groups is gone".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_all_other_numbers() {
        let pairs = |numbers: &[i64]| -> Vec<(i64, i64)> {
            gaps(numbers).iter().map(|gap| (gap.least, gap.most)).collect()
        };
        assert_eq!(pairs(&[]), [(i64::MIN, i64::MAX)]);
        assert_eq!(pairs(&[3, 4, 9]), [(i64::MIN, 2), (5, 8), (10, i64::MAX)]);
        assert_eq!(pairs(&[i64::MIN, i64::MAX]), [(i64::MIN + 1, i64::MAX - 1)]);
        assert_eq!(pairs(&[i64::MIN]), [(i64::MIN + 1, i64::MAX)]);
    }

    #[test]
    fn what_is_lost_is_no_less_than_what_is_missed() {
        let round = |length, good, groups| Round { length, good, groups };
        assert_eq!(round(20, 10, 10).loss(1.0), 0.0);
        // One of five hits, all of them in good groups.
        assert!((round(20, 10, 10).loss(0.99) - 4.0 * 0.01).abs() < 1e-6);
        assert!((round(20, 0, 10).loss(0.99) - 3.0 * 0.01).abs() < 1e-6);
        assert_eq!(round(20, 19, 1).loss(0.9), 1.0, "nothing is known then");
    }
}
