//! The native module of the Python package `lanner`.
//!
//! One module for a database in this process and one behind a server: both are a
//! [`lanner_client::Backend`], so that vectors, ids, filters and errors are converted in one place
//! (docs/decisions/0017-python-is-one-native-module.md). Everything that a user sees is in Python
//! (`../lanner`), where it has documentation and types; what is here takes and returns plain parts.

// Nothing that comes from a user, a file or the network may panic.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod arrays;
mod attention;
mod calls;
mod database;
mod errors;
mod jobs;
mod points;
mod queries;
mod request;
mod settings;
mod sparse;
mod text;
mod writes;

use pyo3::prelude::*;

/// `lanner._native`.
#[pymodule(name = "_native", gil_used = true)]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    calls::note_main_thread(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<answers::Answer>()?;
    module.add_class::<answers::BatchAnswer>()?;
    module.add_class::<attention::PyKeyIndex>()?;
    module.add_class::<calls::PyCancelToken>()?;
    module.add_class::<database::Backend>()?;
    module.add_class::<request::Request>()?;
    module.add_class::<text::PyTextQuery>()?;
    module.add_function(wrap_pyfunction!(sparse::sparse_entries, module)?)?;
    module.add_function(wrap_pyfunction!(attention::search_heads, module)?)
}
