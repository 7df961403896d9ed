//! The settings of indexes, each declared once: [`DECLARED`] is what text, JSON, messages, checks,
//! help and documentation are made of.
//!
//! A new setting is an entry here, and a field of the message with its line in
//! `crates/client/src/messages/index.rs`.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::IndexKind;
use crate::model::{InvalidInput, Problem, check_range};

/// Declares the settings, in the order in which they are written: the struct of each part, the table
/// of all of them, and [`Given`].
///
/// `range` and `default` may depend on the part, which is called by the name after `as`. A default
/// that is no plain number is put into `words`; without `default` whoever builds the index knows it.
macro_rules! declare {
    ($(
        $(#[$doc:meta])*
        $part:ident as $this:ident of $($kind:ident)|+ { $(
            $field:ident: $type:ty {
                name: $name:literal, short_name: $short_name:literal, range: $range:expr,
                $(default: $default:expr,)? $(words: $words:literal,)?
                help: $help:literal,
            }
        )+ }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Default)]
            pub struct $part { $(
                #[doc = concat!(
                    $help, ": `", stringify!($range), "`, by default ",
                    declare!(@words [$($default)?] [$($words)?]), "."
                )]
                pub $field: Option<$type>,
            )+ }

            impl $part {
                const KINDS: &[IndexKind] = &[$(IndexKind::$kind),+];

                $($(
                    #[doc = concat!("[`field@Self::", stringify!($field), "`], or its default.")]
                    pub fn $field(&self) -> $type {
                        let $this = self;
                        $this.$field.unwrap_or($default)
                    }
                )?)+

                pub(super) fn put(self, given: &mut Given) {
                    $(given.$field = self.$field;)+
                }
            }

            impl From<&Given> for $part {
                fn from(given: &Given) -> Self {
                    Self { $($field: given.$field),+ }
                }
            }
        )+

        /// A kind and what is set, also of other kinds: the form of JSON.
        #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Given {
            pub kind: IndexKind,
            $($(
                #[serde(rename = $name)]
                $field: Option<$type>,
            )+)+
        }

        /// All settings, in the order in which they are written.
        pub(super) const DECLARED: &[IndexSetting] = &[$($(
            IndexSetting {
                name: $name,
                short_name: $short_name,
                kinds: $part::KINDS,
                default: declare!(@words [$($default)?] [$($words)?]),
                help: $help,
                range: || {
                    let $this = $part::default();
                    let _ = $this;
                    let range = $range;
                    format!("{} to {}", range.start(), range.end())
                },
                slot: |given| Setting::slot(&mut given.$field),
                check: |given| {
                    let $this = $part::from(given);
                    let path = concat!("index.", $name);
                    $this.$field.map_or(Ok(()), |got| got.check(path, $range))
                },
            },
        )+)+];
    };
    (@words [$($default:expr)?] [$words:literal]) => { $words };
    (@words [$default:expr] []) => { stringify!($default) };
}

declare! {
    /// How a graph is built. What is not set takes its default.
    GraphSettings as graph of Auto | Graph {
        max_degree: usize {
            name: "graph_max_degree", short_name: "degree", range: 8..=256,
            default: 64,
            help: "maximum number of edges of a row",
        }
        window_size: usize {
            name: "window_size", short_name: "window", range: 1..=2_000,
            default: 100,
            help: "candidates kept by the search for a row's edges",
        }
        alpha: f32 {
            name: "alpha", short_name: "alpha", range: 1.0..=2.0,
            default: 1.2,
            help: "pruning factor: an edge is superfluous if a kept neighbour is nearer to its end by this factor, in squared distance",
        }
        prune_to: usize {
            name: "prune_to", short_name: "prune", range: 1..=graph.max_degree(),
            default: graph.max_degree() * 7 / 8, words: "7/8 of the degree",
            help: "edges that remain when a row with too many is pruned, at most the degree",
        }
        learned_degree: usize {
            name: "learned_degree", short_name: "learned", range: 0..=graph.max_degree() * 3 / 4,
            default: graph.max_degree() * 5 / 8, words: "5/8 of the degree",
            help: "edges of a row that are learned from queries to expect, at most 3/4 of the degree; 0 for none",
        }
    }

    /// How lists are made. What is not set takes its default.
    ListSettings as lists of Auto | Ivf {
        lists: usize {
            name: "lists", short_name: "lists", range: 1..=1 << 20,
            words: "rows / 128",
            help: "number of lists",
        }
    }
}

/// A setting of indexes as it is declared.
#[derive(Debug, Clone, Copy)]
pub struct IndexSetting {
    /// Its name in JSON, messages and errors.
    pub name: &'static str,
    /// Its name in text, as in `graph:degree=32`.
    pub short_name: &'static str,
    /// The kinds of indexes that have it.
    pub kinds: &'static [IndexKind],
    /// Its default, in words if it depends on something.
    pub default: &'static str,
    /// What it is.
    pub help: &'static str,
    range: fn() -> String,
    slot: fn(&mut Given) -> Slot<'_>,
    check: fn(&Given) -> Result<(), InvalidInput>,
}

/// The value of a setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SettingValue {
    /// A whole number.
    Count(usize),
    /// Any number.
    Number(f32),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Given {
    /// A kind, and nothing set.
    pub fn new(kind: IndexKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl IndexSetting {
    /// What it may be, as in `8 to 256`, the others having their defaults.
    pub fn range(&self) -> String {
        (self.range)()
    }

    /// What stands for its value in a description: `N`, or `X` if it is no whole number.
    pub fn placeholder(&self) -> &'static str {
        match (self.slot)(&mut Given::default()) {
            Slot::Count(_) => "N",
            Slot::Number(_) => "X",
        }
    }

    pub(super) fn get(&self, mut given: Given) -> Option<SettingValue> {
        match (self.slot)(&mut given) {
            Slot::Count(count) => count.map(SettingValue::Count),
            Slot::Number(number) => number.map(SettingValue::Number),
        }
    }

    /// # Errors
    /// If the index is of a kind that has no such setting, or the value is no whole number and
    /// should be.
    pub(super) fn set(&self, given: &mut Given, value: SettingValue) -> Result<(), InvalidInput> {
        self.check_kind(given.kind)?;
        match ((self.slot)(given), value) {
            (Slot::Count(slot), SettingValue::Count(count)) => *slot = Some(count),
            (Slot::Number(slot), SettingValue::Number(number)) => *slot = Some(number),
            (Slot::Number(slot), SettingValue::Count(count)) => *slot = Some(count as f32),
            (Slot::Count(_), SettingValue::Number(_)) => {
                let path = format!("index.{}", self.name);
                return Err(InvalidInput::mismatch(path, "a whole number", value));
            }
        }
        Ok(())
    }

    /// The value that a text says; `None` if it is none.
    pub(super) fn parse(&self, text: &str) -> Option<SettingValue> {
        match (self.slot)(&mut Given::default()) {
            Slot::Count(_) => text.parse().ok().map(SettingValue::Count),
            Slot::Number(_) => text.parse().ok().map(SettingValue::Number),
        }
    }

    /// Checks its value, if it is set.
    pub(super) fn check(&self, given: &Given) -> Result<(), InvalidInput> {
        (self.check)(given)
    }

    fn check_kind(&self, kind: IndexKind) -> Result<(), InvalidInput> {
        if self.kinds.contains(&kind) {
            return Ok(());
        }
        let owners: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let problem = Problem::OtherKind { owners: owners.join(" or "), kind: kind.as_str() };
        Err(InvalidInput::new(format!("index.{}", self.name), problem))
    }
}

/// Where the value of a setting is.
enum Slot<'g> {
    Count(&'g mut Option<usize>),
    Number(&'g mut Option<f32>),
}

/// What settings can be.
trait Setting: Sized {
    fn slot(place: &mut Option<Self>) -> Slot<'_>;

    fn check(self, path: &str, range: RangeInclusive<Self>) -> Result<(), InvalidInput>;
}

impl Setting for usize {
    fn slot(place: &mut Option<Self>) -> Slot<'_> {
        Slot::Count(place)
    }

    fn check(self, path: &str, range: RangeInclusive<Self>) -> Result<(), InvalidInput> {
        check_range(path, *range.start(), *range.end(), self)
    }
}

impl Setting for f32 {
    fn slot(place: &mut Option<Self>) -> Slot<'_> {
        Slot::Number(place)
    }

    fn check(self, path: &str, range: RangeInclusive<Self>) -> Result<(), InvalidInput> {
        if range.contains(&self) {
            return Ok(());
        }
        let (min, max) = range.into_inner();
        Err(InvalidInput::new(path, Problem::NumberOutOfRange { min, max, got: self }))
    }
}
