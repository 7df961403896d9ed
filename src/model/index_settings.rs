//! Which index the segments of a field get, and how it is built.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InvalidInput, Problem, check_range};

/// How a field is indexed.
///
/// Written as text, it is the kind, and after colons what differs from the default: `auto`,
/// `graph`, `graph:degree=32:window=100:alpha=1.2:prune=28`, `ivf:lists=1000`, `flat`.
///
/// ```
/// use lanner::{IndexKind, IndexSettings};
///
/// let settings: IndexSettings = "graph:degree=32".parse()?;
/// assert_eq!((settings.kind, settings.graph_max_degree), (IndexKind::Graph, Some(32)));
/// assert_eq!(settings.to_string(), "graph:degree=32");
/// # Ok::<(), lanner::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IndexSettings {
    /// Graph, lists, or neither.
    pub kind: IndexKind,
    /// Most edges of a row of a graph: 8 to 256, by default 64.
    pub graph_max_degree: Option<usize>,
    /// Rows that the search for edges keeps: up to 2,000, by default 100.
    pub window_size: Option<usize>,
    /// How much nearer, in squared distance, an edge has to be to make another superfluous: 1 to
    /// 2, by default 1.2.
    pub alpha: Option<f32>,
    /// Edges that are left when a row has got too many: at most the degree, by default seven
    /// eighths of it.
    pub prune_to: Option<usize>,
    /// Number of lists; by default so many that each has 128 rows.
    pub lists: Option<usize>,
}

/// What finds candidates in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// What calibration finds to be the least work: a graph or lists.
    #[default]
    Auto,
    /// A Vamana graph.
    Graph,
    /// Lists of the rows nearest to each of many centroids.
    Ivf,
    /// None: codes are scanned, all of them.
    Flat,
}

impl IndexKind {
    /// `auto`, `graph`, `ivf` or `flat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Graph => "graph",
            Self::Ivf => "ivf",
            Self::Flat => "flat",
        }
    }
}

impl IndexSettings {
    /// An index of this kind, built with the defaults.
    pub fn new(kind: IndexKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Most edges of a row.
    pub fn resolved_degree(&self) -> usize {
        self.graph_max_degree.unwrap_or(64)
    }

    /// Rows that the search for edges keeps.
    pub fn resolved_window(&self) -> usize {
        self.window_size.unwrap_or(100)
    }

    /// See [`Self::alpha`].
    pub fn resolved_alpha(&self) -> f32 {
        self.alpha.unwrap_or(1.2)
    }

    /// See [`Self::prune_to`].
    pub fn resolved_prune_to(&self) -> usize {
        self.prune_to.unwrap_or(self.resolved_degree() * 7 / 8)
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidInput`] at the setting that is out of bounds.
    pub(super) fn validate(&self) -> Result<(), InvalidInput> {
        check_range("index.graph_max_degree", 8, 256, self.resolved_degree())?;
        check_range("index.window_size", 1, 2_000, self.resolved_window())?;
        check_range("index.prune_to", 1, self.resolved_degree(), self.resolved_prune_to())?;
        check_range("index.lists", 1, 1 << 20, self.lists.unwrap_or(1))?;
        let alpha = self.resolved_alpha();
        if !(1.0..=2.0).contains(&alpha) {
            let problem = Problem::Mismatch { expected: "1 to 2", got: alpha.to_string() };
            return Err(InvalidInput::new("index.alpha", problem));
        }
        Ok(())
    }
}

impl fmt::Display for IndexSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        let counts = [
            ("degree", self.graph_max_degree),
            ("window", self.window_size),
            ("prune", self.prune_to),
            ("lists", self.lists),
        ];
        for (name, value) in counts {
            if let Some(value) = value {
                write!(f, ":{name}={value}")?;
            }
        }
        self.alpha.map_or(Ok(()), |alpha| write!(f, ":alpha={alpha}"))
    }
}

impl FromStr for IndexSettings {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let malformed = || {
            let expected = "auto, graph, ivf or flat, with [:degree=N][:window=N][:alpha=X]\
                [:prune=N] for a graph and [:lists=N] for ivf";
            InvalidInput::new("index", Problem::Mismatch { expected, got: text.into() })
        };
        let mut parts = text.split(':');
        let kind = match parts.next() {
            Some("auto") => IndexKind::Auto,
            Some("graph") => IndexKind::Graph,
            Some("ivf") => IndexKind::Ivf,
            Some("flat") => IndexKind::Flat,
            _ => return Err(malformed()),
        };
        let mut settings = Self::new(kind);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(malformed)?;
            let count = || value.parse().map(Some).map_err(|_| malformed());
            match name {
                "degree" => settings.graph_max_degree = count()?,
                "window" => settings.window_size = count()?,
                "prune" => settings.prune_to = count()?,
                "lists" => settings.lists = count()?,
                "alpha" => settings.alpha = Some(value.parse().map_err(|_| malformed())?),
                _ => return Err(malformed()),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_are_read_back() {
        for text in ["auto", "flat", "ivf:lists=7", "graph:degree=64:window=128:prune=48:alpha=1.1"]
        {
            let settings: IndexSettings = text.parse().unwrap();
            assert_eq!(settings.to_string(), text);
            assert_eq!(settings.validate(), Ok(()));
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<IndexSettings>(&json).unwrap(), settings);
        }
        assert_eq!(serde_json::from_str::<IndexSettings>("{}").unwrap(), IndexSettings::default());
    }

    #[test]
    fn bad_settings_name_what_is_wrong() {
        for text in ["", "hnsw", "graph:degree", "graph:degree=x", "graph:m=3", "ivf:lists=-1"] {
            let error = text.parse::<IndexSettings>().unwrap_err().to_string();
            assert!(error.starts_with("index: expected auto, graph, ivf or flat"), "{error}");
        }
        for (text, expected) in [
            ("graph:degree=7", "index.graph_max_degree: expected 8 to 256, got 7"),
            ("graph:window=0", "index.window_size: expected 1 to 2000, got 0"),
            ("graph:degree=32:prune=33", "index.prune_to: expected 1 to 32, got 33"),
            ("graph:alpha=NaN", "index.alpha: expected 1 to 2, got NaN"),
            ("graph:alpha=0.9", "index.alpha: expected 1 to 2, got 0.9"),
            ("ivf:lists=0", "index.lists: expected 1 to 1048576, got 0"),
        ] {
            let settings: IndexSettings = text.parse().unwrap();
            assert_eq!(settings.validate().unwrap_err().to_string(), expected);
        }
    }
}
