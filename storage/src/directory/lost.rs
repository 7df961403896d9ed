//! The folder for files that are not ours to remove.

use super::Directory;
use crate::error::Result;

/// Name of the folder.
pub const LOST: &str = "lost";

/// Moves a folder to `lost/`, under the first free name of [`numbered`].
/// Returns that name.
///
/// # Errors
/// If it cannot be moved.
pub fn move_to_lost<D: Directory + ?Sized>(
    directory: &D,
    path: &str,
    name: &str,
) -> Result<String> {
    directory.create_folder(LOST)?;
    let taken = directory.list(LOST)?;
    let free = numbered(name).find(|name| !taken.contains(name));
    let free = free.unwrap_or_else(|| name.to_owned());
    directory.rename(path, &format!("{LOST}/{free}"))?;
    Ok(free)
}

/// A name and its alternatives, to try in order: `name`, `name-2`, `name-3`, …
pub fn numbered(name: &str) -> impl Iterator<Item = String> {
    (1_u32..).map(move |count| match count {
        1 => name.to_owned(),
        count => format!("{name}-{count}"),
    })
}
