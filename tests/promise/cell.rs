//! A cell of the grid: what is asked of which collection, what it demands, and what came.

use std::fmt;

use lanner::{IndexKind, Metric, QueryRequest, QueryResponse};

use super::data::QUERIES;

/// What a collection has gone through when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is sealed.
    Memory,
    /// Sealed, also where the data set says so in between, and never merged or indexed.
    Sealed,
    /// Sealed once, with an index.
    Indexed,
    /// Sealed twice or as often as the data set says, then merged and indexed.
    Merged,
    /// As merged, and opened again.
    Reopened,
}

impl State {
    /// Whether segments with codes are asked, so that no longer every vector is there as it came.
    pub fn is_coded(self) -> bool {
        self != Self::Memory
    }

    pub fn has_index(self) -> bool {
        !matches!(self, Self::Memory | Self::Sealed)
    }
}

/// A collection of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub metric: Metric,
    pub compression: &'static str,
    pub index: IndexKind,
    pub state: State,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, compression, index, state } = self;
        let name = format!("{metric:?} {compression} {} {state:?}", index.as_str());
        f.write_str(&name.to_lowercase())
    }
}

/// How a query says what it wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ask {
    /// Nothing is set: a recall of 0.98 is promised.
    Default,
    Target(f32),
    /// Re-ranks only twice the hits.
    Rerank,
    Exact,
}

/// What is promised where a request does not say.
const DEFAULT_TARGET: f32 = 0.98;

impl Ask {
    pub fn request(self, request: QueryRequest) -> QueryRequest {
        let candidates = 2 * request.limit;
        match self {
            Self::Default => request,
            Self::Target(target) => request.target_recall(target),
            Self::Rerank => request.rerank(candidates),
            Self::Exact => request.exact(),
        }
    }

    /// The recall that a cell has a right to, if vectors are there to reach it.
    fn target(self) -> Option<f32> {
        match self {
            Self::Default => Some(DEFAULT_TARGET),
            Self::Target(target) => Some(target),
            Self::Rerank => None,
            Self::Exact => Some(1.0),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Target(target) => write!(f, "target={target}"),
            Self::Rerank => f.write_str("rerank=2k"),
            Self::Exact => f.write_str("exact"),
        }
    }
}

/// What a cell demands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// A recall of so much, less [`TOLERANCE`], and an estimate that does not flatter.
    Recall(f32),
    /// The same, less 0.01: what was learned from the queries that came fits them.
    CloseRecall(f32),
    /// An estimate that does not flatter: the depth was set by hand, or vectors were dropped and
    /// what is left of them may be too little for any target.
    Honesty,
}

impl Demand {
    pub fn of(setting: &Setting, ask: Ask, is_easy: bool) -> Self {
        let dropped = setting.compression.ends_with("drop-raw") && setting.state.is_coded();
        // Eight bits of every element are enough where nothing is hard.
        let lossy = dropped && !(is_easy && setting.compression.contains("lvq8"));
        match ask.target().filter(|_| !lossy) {
            // What dropped vectors lost also an exact scan has lost.
            Some(target) if dropped => Self::Recall(target.min(DEFAULT_TARGET)),
            Some(target) => Self::Recall(target),
            None => Self::Honesty,
        }
    }
}

impl Demand {
    /// The recall that is demanded, and how much less will do of so many queries.
    pub fn recall(self, distinct: usize) -> Option<(f64, f64)> {
        let (target, tolerance) = match self {
            Self::Recall(target) => (target, TOLERANCE),
            Self::CloseRecall(target) => (target, 0.01),
            Self::Honesty => return None,
        };
        Some((f64::from(target), tolerance * error_of(distinct)))
    }
}

/// How far a recall may be below what is demanded, and an estimate above what is true: the
/// sampling error of 200 queries, thrice.
pub const TOLERANCE: f64 = 0.03;

/// The sampling error of queries of which so many are different, in that of as many as most sets have.
fn error_of(distinct: usize) -> f64 {
    (QUERIES as f64 / distinct.max(1) as f64).sqrt().max(1.0)
}

/// The recall that an answer promises; `None` if it says that it does not know.
pub fn estimate(answer: &QueryResponse) -> Option<f32> {
    answer.estimated_recall
}

/// What came of a cell.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub data: &'static str,
    pub seed: u64,
    pub name: String,
    pub demand: Demand,
    pub measured: Result<Measured, String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Mean recall of all queries.
    pub recall: f64,
    /// Mean of the estimates that are known, less the mean recall of the same queries.
    pub flattery: Option<f64>,
    /// How many estimates are known.
    pub known: usize,
    /// Queries that are no copies of others, or nearly.
    pub distinct: usize,
}

impl Outcome {
    /// How much more than the target was found.
    pub fn above_target(&self) -> Option<f64> {
        let measured = self.measured.as_ref().ok()?;
        let (target, _) = self.demand.recall(measured.distinct)?;
        Some(measured.recall - target)
    }

    pub fn flattery(&self) -> Option<f64> {
        self.measured.as_ref().ok()?.flattery
    }

    pub fn holds(&self) -> bool {
        let Ok(measured) = &self.measured else { return false };
        let Measured { recall, flattery, known, distinct } = *measured;
        let demanded = self.demand.recall(distinct);
        demanded.is_none_or(|(target, less)| recall >= target - less)
            && flattery.is_none_or(|flattery| flattery <= TOLERANCE * error_of(distinct.min(known)))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.measured {
            Err(error) => write!(f, "{error}")?,
            Ok(Measured { recall, flattery, known, distinct }) => {
                write!(f, "recall {recall:.3}, estimate − recall ")?;
                match flattery {
                    Some(flattery) => write!(f, "{flattery:+.3}")?,
                    None => write!(f, "unknown")?,
                }
                if *known < QUERIES && flattery.is_some() {
                    write!(f, " (of {known} queries)")?;
                }
                if *distinct < QUERIES {
                    write!(f, " (of {distinct} different queries)")?;
                }
            }
        }
        let Self { name, demand, seed, .. } = self;
        write!(f, " | {name} | {demand:?} | seed {seed}")
    }
}
