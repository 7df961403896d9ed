//! Which index the segments of a field get, and how it is built.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::InvalidInput;

mod declared;

use declared::{DECLARED, Given};
pub use declared::{GraphSettings, IndexSetting, ListSettings, SettingValue};

/// How a field is indexed: a kind, with the settings that an index of this kind has.
///
/// Written as text, it is the kind, and after colons what differs from the default: `auto`,
/// `graph`, `graph:degree=32:window=100:alpha=1.2:prune=28`, `ivf:lists=1000`, `flat`.
///
/// ```
/// use lanner::{IndexKind, IndexSettings};
///
/// let settings: IndexSettings = "graph:degree=32".parse()?;
/// assert_eq!((settings.kind(), settings.graph().max_degree()), (IndexKind::Graph, 32));
/// assert_eq!(settings.to_string(), "graph:degree=32");
/// # Ok::<(), lanner::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given", into = "Given")]
pub enum IndexSettings {
    /// What calibration finds to be the least work: a graph or lists, each built like this.
    Auto {
        /// The graph.
        graph: GraphSettings,
        /// The lists.
        lists: ListSettings,
    },
    /// A Vamana graph.
    Graph(GraphSettings),
    /// Lists of the rows nearest to each of many centroids.
    Lists(ListSettings),
    /// None: codes are scanned, all of them.
    Flat,
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
    const ALL: [Self; 4] = [Self::Auto, Self::Graph, Self::Ivf, Self::Flat];

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

impl Default for IndexSettings {
    fn default() -> Self {
        Self::new(IndexKind::default())
    }
}

impl IndexSettings {
    /// An index of this kind, built with the defaults.
    pub fn new(kind: IndexKind) -> Self {
        Given::new(kind).into()
    }

    /// All settings that indexes have, in the order in which they are written.
    pub fn declared() -> &'static [IndexSetting] {
        DECLARED
    }

    /// Graph, lists, either or neither.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Auto { .. } => IndexKind::Auto,
            Self::Graph(_) => IndexKind::Graph,
            Self::Lists(_) => IndexKind::Ivf,
            Self::Flat => IndexKind::Flat,
        }
    }

    /// How a graph is built, if one is.
    pub fn graph(&self) -> GraphSettings {
        match *self {
            Self::Auto { graph, .. } | Self::Graph(graph) => graph,
            Self::Lists(_) | Self::Flat => GraphSettings::default(),
        }
    }

    /// How lists are made, if they are.
    pub fn lists(&self) -> ListSettings {
        match *self {
            Self::Auto { lists, .. } | Self::Lists(lists) => lists,
            Self::Graph(_) | Self::Flat => ListSettings::default(),
        }
    }

    /// The value of a [declared](Self::declared) setting; `None` if it has its default.
    pub fn get(&self, name: &str) -> Option<SettingValue> {
        let setting = DECLARED.iter().find(|setting| setting.name == name)?;
        setting.get((*self).into())
    }

    /// With this value of a [declared](Self::declared) setting, whose range is checked later.
    ///
    /// # Errors
    /// [`InvalidInput`] if there is no such setting, or an index of this kind does not have it.
    pub fn with(self, name: &str, value: SettingValue) -> Result<Self, InvalidInput> {
        let setting = DECLARED.iter().find(|setting| setting.name == name);
        let unknown = || InvalidInput::mismatch("index", "the name of a setting", name);
        let mut given = Given::from(self);
        setting.ok_or_else(unknown)?.set(&mut given, value)?;
        Ok(given.into())
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidInput`] at the setting that is out of bounds.
    pub(super) fn validate(&self) -> Result<(), InvalidInput> {
        let given = Given::from(*self);
        DECLARED.iter().try_for_each(|setting| setting.check(&given))
    }
}

/// Drops what an index of this kind does not have: earlier versions stored it.
impl From<Given> for IndexSettings {
    fn from(given: Given) -> Self {
        match given.kind {
            IndexKind::Auto => Self::Auto { graph: (&given).into(), lists: (&given).into() },
            IndexKind::Graph => Self::Graph((&given).into()),
            IndexKind::Ivf => Self::Lists((&given).into()),
            IndexKind::Flat => Self::Flat,
        }
    }
}

impl From<IndexSettings> for Given {
    fn from(settings: IndexSettings) -> Self {
        let mut given = Self::new(settings.kind());
        settings.graph().put(&mut given);
        settings.lists().put(&mut given);
        given
    }
}

impl fmt::Display for IndexSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = Given::from(*self);
        f.write_str(given.kind.as_str())?;
        let values = || DECLARED.iter().filter_map(|one| Some((one.short_name, one.get(given)?)));
        let is_count = |value: &SettingValue| matches!(value, SettingValue::Count(_));
        // Whole numbers come first, as ever.
        let counts = values().filter(|(_, value)| is_count(value));
        let numbers = values().filter(|(_, value)| !is_count(value));
        counts.chain(numbers).try_for_each(|(name, value)| write!(f, ":{name}={value}"))
    }
}

/// What a text has to look like.
static EXPECTED: LazyLock<String> = LazyLock::new(|| {
    let of = |kind| {
        let settings = DECLARED.iter().filter(|setting| setting.kinds.contains(&kind));
        let form = |one: &IndexSetting| format!("[:{}={}]", one.short_name, one.placeholder());
        settings.map(form).collect::<String>()
    };
    let (graph, lists) = (of(IndexKind::Graph), of(IndexKind::Ivf));
    format!("auto, graph, ivf or flat, with {graph} for a graph and {lists} for ivf")
});

impl FromStr for IndexSettings {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let malformed = || InvalidInput::mismatch("index", &EXPECTED, text);
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let kind = IndexKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let mut given = Given::new(kind.ok_or_else(malformed)?);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(malformed)?;
            let setting = DECLARED.iter().find(|setting| setting.short_name == name);
            let setting = setting.ok_or_else(malformed)?;
            setting.set(&mut given, setting.parse(value).ok_or_else(malformed)?)?;
        }
        Ok(given.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_are_read_back() {
        for text in [
            "auto",
            "auto:degree=32:lists=7",
            "flat",
            "ivf:lists=7",
            "graph:degree=64:window=128:prune=48:learned=9:alpha=1.1",
        ] {
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
            let expected = "index: expected auto, graph, ivf or flat, with [:degree=N][:window=N]\
                [:alpha=X][:prune=N][:learned=N]";
            assert!(error.starts_with(expected) && error.ends_with(&format!(", got {text}")));
            assert!(error.contains(" for a graph and [:lists=N]"), "{error}");
        }
        for (text, expected) in [
            ("graph:degree=7", "index.graph_max_degree: expected 8 to 256, got 7"),
            ("graph:window=0", "index.window_size: expected 1 to 2000, got 0"),
            ("graph:degree=32:prune=33", "index.prune_to: expected 1 to 32, got 33"),
            ("graph:degree=32:learned=25", "index.learned_degree: expected 0 to 24, got 25"),
            ("graph:alpha=NaN", "index.alpha: expected 1 to 2, got NaN"),
            ("graph:alpha=0.9", "index.alpha: expected 1 to 2, got 0.9"),
            ("ivf:lists=0", "index.lists: expected 1 to 1048576, got 0"),
            ("auto:degree=257", "index.graph_max_degree: expected 8 to 256, got 257"),
        ] {
            let settings: IndexSettings = text.parse().unwrap();
            assert_eq!(settings.validate().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let graph = IndexSettings::default().graph();
        assert_eq!((graph.max_degree(), graph.window_size()), (64, 100));
        assert_eq!((graph.alpha(), graph.prune_to()), (1.2, 56));
        assert_eq!(graph.learned_degree(), 40);
        let settings: IndexSettings = "auto:degree=32:alpha=1.5:lists=9".parse().unwrap();
        let graph = settings.graph();
        assert_eq!((graph.max_degree(), graph.alpha(), graph.prune_to()), (32, 1.5, 28));
        assert_eq!(settings.lists().lists, Some(9));
    }

    #[test]
    fn settings_of_another_kind_are_refused_in_text_and_by_name() {
        for (text, expected) in [
            ("graph:lists=7", "index.lists: a setting of auto or ivf, not of graph"),
            ("ivf:degree=32", "index.graph_max_degree: a setting of auto or graph, not of ivf"),
            ("flat:alpha=1.5", "index.alpha: a setting of auto or graph, not of flat"),
        ] {
            assert_eq!(text.parse::<IndexSettings>().unwrap_err().to_string(), expected);
        }
        let lists = IndexSettings::new(IndexKind::Ivf);
        let error = lists.with("prune_to", SettingValue::Count(9)).unwrap_err();
        assert_eq!(error.to_string(), "index.prune_to: a setting of auto or graph, not of ivf");
        let error = lists.with("ef", SettingValue::Count(9)).unwrap_err();
        assert_eq!(error.to_string(), "index: expected the name of a setting, got ef");
        let error = lists.with("lists", SettingValue::Number(1.5)).unwrap_err();
        assert_eq!(error.to_string(), "index.lists: expected a whole number, got 1.5");
    }

    #[test]
    fn stored_settings_are_as_they_were_and_drop_what_another_kind_has() {
        let settings: IndexSettings = "graph:degree=32:alpha=1.5".parse().unwrap();
        let written = serde_json::to_string(&settings).unwrap();
        let before = r#"{"kind":"graph","graph_max_degree":32,"window_size":null,"alpha":1.5,"#;
        assert!(written.starts_with(before), "{written}");
        assert!(written.contains(r#","prune_to":null,"#) && written.contains(r#""lists":null"#));
        let stored = r#"{"kind":"ivf","graph_max_degree":7,"lists":30}"#;
        let read: IndexSettings = serde_json::from_str(stored).unwrap();
        assert_eq!((read.to_string(), read.validate()), ("ivf:lists=30".into(), Ok(())));
        let unknown = serde_json::from_str::<IndexSettings>(r#"{"kind":"flat","ef":3}"#);
        assert!(unknown.unwrap_err().to_string().starts_with("unknown field `ef`"));
    }

    #[test]
    fn the_documentation_names_each_setting_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/indexes.md");
        let text = std::fs::read_to_string(path).unwrap();
        for setting in IndexSettings::declared() {
            let IndexSetting { short_name, help, default, .. } = setting;
            let row = format!("| `{short_name}` | {help} | {} | {default} |", setting.range());
            assert!(text.contains(&row), "docs/indexes.md should have {row}");
        }
    }
}
