//! The settings of a collection: its named vector fields and declared payload paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::invalid::check_range;
use super::payload_type::validate_path;
use super::text::validate_all as validate_texts;
use super::{
    CodeSettings, Compression, ElementType, Encoding, IndexSettings, InvalidInput, LvqCode, Memory,
    PayloadType, Primary, Problem, Secondary, TextField, limits,
};

/// How two vectors are compared. Scores are higher-is-better for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// The dot product ⟨q, x⟩.
    Dot,
    /// The dot product of the vectors scaled to length 1. Vectors are stored scaled.
    Cosine,
    /// The negative squared Euclidean distance −‖q − x‖².
    L2,
}

impl Metric {
    /// `dot`, `cosine` or `l2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Cosine => "cosine",
            Self::L2 => "l2",
        }
    }
}

/// What a field holds of a point: one vector, many, or a sparse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorKind {
    /// One vector a point.
    Single,
    /// Many vectors (tokens) a point, scored by MaxSim: Σ over query vectors of the maximal
    /// similarity with one of the point's vectors.
    Multi,
    /// One sparse vector a point: few non-zero values among 2³² dimensions.
    Sparse,
}

impl VectorKind {
    /// `single`, `multi` or `sparse`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::Sparse => "sparse",
        }
    }
}

/// The settings of one vector field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorField {
    /// Dimension of each vector; 0 for a sparse field, whose indices may be any of 32 bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dimension: usize,
    /// One vector a point, many, or a sparse one.
    pub kind: VectorKind,
    /// How vectors are compared.
    pub metric: Metric,
    /// How vector elements are stored.
    #[serde(default)]
    pub element: ElementType,
    /// How the vectors are compressed for search.
    #[serde(default)]
    pub compression: Compression,
    /// How large segments find candidates.
    #[serde(default)]
    pub index: IndexSettings,
    /// Which of its bytes stay in memory.
    #[serde(default)]
    pub memory: Memory,
    /// Multi fields: how the vectors of a point become the one by which candidates are found.
    #[serde(default, skip_serializing_if = "Encoding::is_auto")]
    pub encoding: Encoding,
    /// Multi fields: so many similar vectors of a point are replaced by their mean when the point is
    /// written; 1 keeps all.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub token_pooling: usize,
    /// So many of the queries that come are kept, at most, to calibrate by them what a target recall
    /// takes; 0 keeps none. They are written into the collection's folder, and nowhere else.
    #[serde(default = "recent_queries", skip_serializing_if = "is_recent_queries")]
    pub recent_queries: usize,
}

/// Default of [`VectorField::recent_queries`].
const RECENT_QUERIES: usize = 1024;

fn recent_queries() -> usize {
    RECENT_QUERIES
}

fn is_recent_queries(number: &usize) -> bool {
    *number == RECENT_QUERIES
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

/// Dimensions that the encodings of a multi field are reduced to if the user does not say: codes of
/// five cache lines. Measured in docs/multivector.md.
const ENCODING_CODE: CodeSettings =
    CodeSettings { code: LvqCode::Lvq4, dimension: Some(624), reduction: None };

impl VectorField {
    /// A field of one f32 vector a point.
    pub fn single(dimension: usize, metric: Metric) -> Self {
        Self {
            dimension,
            kind: VectorKind::Single,
            metric,
            element: ElementType::F32,
            compression: Compression::default(),
            index: IndexSettings::default(),
            memory: Memory::default(),
            encoding: Encoding::default(),
            token_pooling: 1,
            recent_queries: RECENT_QUERIES,
        }
    }

    /// A field of many f32 vectors a point, compared by MaxSim.
    pub fn multi(dimension: usize, metric: Metric) -> Self {
        Self::of_kind(VectorKind::Multi, dimension, metric)
    }

    /// A field of this kind; see [`Self::single`], [`Self::multi`] and [`Self::sparse`].
    pub fn of_kind(kind: VectorKind, dimension: usize, metric: Metric) -> Self {
        Self { kind, ..Self::single(dimension, metric) }
    }

    /// A field of one sparse vector a point, compared by their dot product. Its segments have
    /// inverted indexes, which find the exact best.
    pub fn sparse() -> Self {
        Self::of_kind(VectorKind::Sparse, 0, Metric::Dot)
    }

    /// The same field, stored in half precision.
    #[must_use]
    pub fn half_precision(self) -> Self {
        Self { element: ElementType::F16, ..self }
    }

    /// Whether its segments have codes once they are large enough.
    pub fn is_compressed(&self) -> bool {
        // Encodings stand for products, so that there are none under l2.
        let has_codes = match self.kind {
            VectorKind::Single => true,
            VectorKind::Multi => self.metric != Metric::L2,
            VectorKind::Sparse => false,
        };
        has_codes && self.compression.primary != Primary::None
    }

    /// Dimension of the vectors that primary codes are made of: of a multi field that of its
    /// encodings; 0 if they are not valid.
    pub fn coded_dimension(&self) -> usize {
        match self.kind {
            VectorKind::Single => self.dimension,
            VectorKind::Multi => self.encoding.dimension(self.dimension).unwrap_or(0),
            VectorKind::Sparse => 0,
        }
    }

    /// The single-vector field that primary codes are made of: the field itself, or that of the
    /// encodings of a multi field, which are compared by their dot product.
    pub fn coded(&self) -> Self {
        if self.kind == VectorKind::Single {
            return self.clone();
        }
        let dimension = self.coded_dimension();
        let primary = match self.compression.primary {
            Primary::Auto if ENCODING_CODE.dimension < Some(dimension) => {
                Primary::Codes(ENCODING_CODE)
            }
            primary => primary,
        };
        let compression = Compression { primary, secondary: Secondary::Raw, keep_raw: true };
        Self::single(dimension, Metric::Dot).compressed(compression)
    }

    /// The same field, compressed like this.
    #[must_use]
    pub fn compressed(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// The same multi field, encoded like this.
    #[must_use]
    pub fn encoded(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// The same multi field, with so many similar vectors of a point replaced by their mean.
    #[must_use]
    pub fn pooled(self, token_pooling: usize) -> Self {
        Self { token_pooling, ..self }
    }

    /// Sparse vectors are stored as they are, and have an index of their own.
    fn validate_sparse(&self) -> Result<(), InvalidInput> {
        let Self { dimension, kind: _, metric, element, compression, index, memory, .. } = self;
        let refuse =
            |path: &str, expected, got: String| Err(InvalidInput::mismatch(path, expected, got));
        let plain = Self::sparse().in_memory(*memory).keeping_queries(self.recent_queries);
        if *dimension != 0 {
            let expected = "none for a sparse field, whose indices may be any of 32 bits";
            return refuse("dimension", expected, dimension.to_string());
        }
        if *metric != Metric::Dot {
            return refuse("metric", "dot for a sparse field", metric.as_str().into());
        }
        if *element != plain.element {
            return refuse("element", "f32 for a sparse field", "f16".into());
        }
        if *compression != plain.compression && *compression != Compression::none() {
            let expected = "`auto` or `none` for a sparse field, which has an inverted index";
            return refuse("compression", expected, compression.to_string());
        }
        if *index != plain.index {
            let expected = "`auto` for a sparse field, which has an inverted index";
            return refuse("index", expected, index.to_string());
        }
        self.validate_multi()
    }

    fn validate_multi(&self) -> Result<(), InvalidInput> {
        let most = if self.kind == VectorKind::Multi { limits::MAX_TOKEN_POOLING } else { 1 };
        check_range("token_pooling", 1, most, self.token_pooling)?;
        if self.encoding.is_auto() {
            return Ok(());
        }
        let expected = "auto, but for multi fields under dot or cosine";
        let got = match (self.kind, self.metric) {
            (VectorKind::Single | VectorKind::Sparse, _) => "an encoding of such a field",
            (VectorKind::Multi, Metric::L2) => "an encoding under l2",
            _ => {
                // What has more is never trained.
                let dimension = self.encoding.dimension(self.dimension)?;
                let path = "encoding: dimensions of an encoding";
                return check_range(path, 1, limits::MAX_DIMENSION, dimension);
            }
        };
        Err(InvalidInput::mismatch("encoding", expected, got))
    }

    /// The same field, with so many of the queries that come kept to calibrate by.
    #[must_use]
    pub fn keeping_queries(self, recent_queries: usize) -> Self {
        Self { recent_queries, ..self }
    }

    /// The same field, with its bytes in memory like this.
    #[must_use]
    pub fn in_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// The same field, indexed like this.
    #[must_use]
    pub fn indexed(self, index: IndexSettings) -> Self {
        Self { index, ..self }
    }
}

/// The settings of a collection.
///
/// ```
/// use lanner::{CollectionConfig, Metric, VectorField};
///
/// let config = CollectionConfig::new()
///     .with_field("text", VectorField::single(384, Metric::Cosine))
///     .with_field("tokens", VectorField::multi(128, Metric::Dot).half_precision());
/// config.validate()?;
/// # Ok::<(), lanner::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    /// The vector fields by name.
    #[serde(default)]
    pub fields: BTreeMap<String, VectorField>,
    /// The text fields by name, apart from those of vector fields. Points may lack text; a collection
    /// with text fields takes points without vectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub text: BTreeMap<String, TextField>,
    /// The payload paths that filters find by an index, with the type of their values. A path is the keys
    /// of nested objects, separated by dots. Points with a value of another type there are
    /// refused. More can be declared later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub payload: BTreeMap<String, PayloadType>,
}

impl CollectionConfig {
    /// A collection without fields; add at least one vector or text field.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a vector field.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, field: VectorField) -> Self {
        self.fields.insert(name.into(), field);
        self
    }

    /// With a text field.
    #[must_use]
    pub fn with_text(mut self, name: impl Into<String>, field: TextField) -> Self {
        self.text.insert(name.into(), field);
        self
    }

    /// With a declared payload path, as in `meta.year`, for filters.
    #[must_use]
    pub fn with_payload(mut self, path: impl Into<String>, payload_type: PayloadType) -> Self {
        self.payload.insert(path.into(), payload_type);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// If there is no vector or text field or too many, a name is malformed, or a setting out of bounds; and if
    /// too many payload paths are declared, or a malformed one.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        let least = usize::from(self.text.is_empty());
        check_range("fields", least, limits::MAX_FIELDS, self.fields.len())?;
        validate_texts(self)?;
        for (name, field) in &self.fields {
            validate_name("fields", name)?;
            let within = |error: InvalidInput| error.within(format!("fields.{name}"));
            if field.kind == VectorKind::Sparse {
                field.validate_sparse().map_err(within)?;
                continue;
            }
            let path = format!("fields.{name}.dimension");
            check_range(&path, 1, limits::MAX_DIMENSION, field.dimension)?;
            field.validate_multi().map_err(within)?;
            field.compression.validate(field).map_err(within)?;
            field.index.validate().map_err(within)?;
            let path = format!("fields.{name}.recent_queries");
            check_range(&path, 0, limits::MAX_TRAINING_QUERIES, field.recent_queries)?;
        }
        check_range("payload", 0, limits::MAX_PATHS, self.payload.len())?;
        self.payload.keys().try_for_each(|path| validate_path(path))
    }

    /// Position and settings of the vector field called `name`. Positions follow the order of names.
    ///
    /// # Errors
    /// [`Problem::UnknownField`], naming the fields there are.
    pub fn field(&self, name: &str) -> Result<(usize, &VectorField), InvalidInput> {
        let found = self.fields.iter().enumerate().find(|(_, (key, _))| *key == name);
        found.map(|(index, (_, field))| (index, field)).ok_or_else(|| {
            let known = self.fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            InvalidInput::new(format!("field {name:?}"), Problem::UnknownField { known })
        })
    }

    /// Position and settings of the text field called `name`. Positions follow the order of names.
    ///
    /// # Errors
    /// [`Problem::UnknownTextField`], naming the fields there are.
    pub(crate) fn text_field(&self, name: &str) -> Result<(usize, &TextField), InvalidInput> {
        let found = self.text.iter().enumerate().find(|(_, (key, _))| *key == name);
        found.map(|(index, (_, field))| (index, field)).ok_or_else(|| {
            let known = self.text.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            InvalidInput::new(format!("field {name:?}"), Problem::UnknownTextField { known })
        })
    }
}

/// Checks a collection or field name against `[a-z0-9_-]{1,64}`.
///
/// # Errors
/// [`Problem::Name`] at `path`.
pub fn validate_name(path: &str, name: &str) -> Result<(), InvalidInput> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=limits::MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let got = name.chars().take(80).collect();
    Err(InvalidInput::new(path, Problem::Name { got }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FdeSettings;

    #[test]
    fn refuses_bad_names() {
        let long = "x".repeat(65);
        for name in ["", "Docs", "a/b", "..", "a b", "ä", &long] {
            let error = validate_name("name", name).unwrap_err().to_string();
            assert!(error.starts_with("name: expected a name of the form [a-z0-9_-]{1,64}"));
        }
        assert!(validate_name("name", "docs-2_x").is_ok());
    }

    #[test]
    fn refuses_no_field_and_bad_dimensions() {
        let error = CollectionConfig::new().validate().unwrap_err();
        assert_eq!(error.to_string(), "fields: expected 1 to 16, got 0");
        for dimension in [0, limits::MAX_DIMENSION + 1] {
            let field = VectorField::single(dimension, Metric::Dot);
            let error = CollectionConfig::new().with_field("a", field).validate().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("fields.a.dimension: expected 1 to 65536, got {dimension}")
            );
        }
    }

    #[test]
    fn settings_of_many_vectors_are_for_multi_fields() {
        let check = |field: VectorField| {
            let checked = CollectionConfig::new().with_field("a", field).validate();
            checked.map_err(|error| error.to_string())
        };
        let fde = |repetitions| Encoding::Fde(FdeSettings { repetitions, ..Default::default() });
        let multi = || VectorField::multi(64, Metric::Cosine);
        assert_eq!(check(multi().encoded(fde(4)).pooled(3)), Ok(()));
        assert_eq!(
            check(multi().encoded(fde(0))).unwrap_err(),
            "fields.a.encoding.repetitions: expected 1 to 1024, got 0"
        );
        let planes = FdeSettings { simhash_projections: 8, ..FdeSettings::default() };
        assert_eq!(
            check(multi().encoded(Encoding::Fde(planes))).unwrap_err(),
            "fields.a.encoding: dimensions of an encoding: expected 1 to 65536, got 81920"
        );
        for pooling in [0, limits::MAX_TOKEN_POOLING + 1] {
            let error = check(multi().pooled(pooling)).unwrap_err();
            assert!(error.starts_with("fields.a.token_pooling: expected 1 to"), "{error}");
        }
        let single = || VectorField::single(64, Metric::Dot);
        assert!(check(single().encoded(fde(4))).unwrap_err().starts_with("fields.a.encoding:"));
        assert!(check(single().pooled(2)).unwrap_err().starts_with("fields.a.token_pooling:"));
        let under_l2 = VectorField::multi(64, Metric::L2).encoded(fde(4));
        assert!(check(under_l2).unwrap_err().starts_with("fields.a.encoding:"));
    }

    #[test]
    fn encodings_are_coded_as_single_vectors_under_their_dot_product() {
        let coded = VectorField::multi(64, Metric::Cosine).half_precision().coded();
        assert_eq!((coded.dimension, coded.metric), (10_240, Metric::Dot));
        assert_eq!(coded.compression.to_string(), "lvq4:624/raw");
        let small = Encoding::Fde(FdeSettings { repetitions: 1, ..Default::default() });
        let coded = VectorField::multi(64, Metric::Dot).encoded(small).coded();
        assert_eq!((coded.dimension, coded.compression.primary), (512, Primary::Auto));
        let single = VectorField::single(64, Metric::L2);
        assert_eq!(single.coded(), single);
        assert!(!VectorField::multi(64, Metric::L2).is_compressed());
    }

    #[test]
    fn an_unknown_field_names_the_known_ones() {
        let config = CollectionConfig::new()
            .with_field("b", VectorField::single(4, Metric::L2))
            .with_field("a", VectorField::multi(4, Metric::Dot));
        assert_eq!(config.field("b").unwrap().0, 1);
        let error = config.field("c").unwrap_err().to_string();
        assert_eq!(error, "field \"c\": no such vector field; the collection has: a, b");
    }
}
