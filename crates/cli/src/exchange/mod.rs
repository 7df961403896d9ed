//! Files of whole points, which other programs read and write: what `import` and `export` share.
//!
//! A format is a file of its own here: lines (`lines.rs`), matrices (`matrix.rs`), and tables
//! (`table/`: Parquet and Arrow, behind the feature `parquet`). Reading makes a
//! [`Source`](super::input::Source), as `ingest` does; writing is a [`Sink`] of a [`NewFile`], which has
//! its name when it is whole.

mod format;
mod lines;
mod matrix;
mod new_file;
mod sink;
mod suggestion;
#[cfg(feature = "parquet")]
pub mod table;

pub use format::Format;
pub use lines::LinesSink;
pub use matrix::{MatrixArguments, MatrixSink, single_field};
pub use new_file::NewFile;
pub use sink::Sink;
pub use suggestion::Suggestion;

/// The error of a program without the feature `parquet`.
#[cfg(not(feature = "parquet"))]
pub fn without_tables() -> super::error::CliError {
    super::error::CliError::Usage(
        "this `lanner` reads and writes no Parquet and Arrow files: build it by \
         `cargo build --release -p lanner-cli --features parquet`"
            .into(),
    )
}
