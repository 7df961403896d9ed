//! Array files for the tests, written byte by byte.

use std::path::PathBuf;

/// A version 1.0 file with this dictionary text and data.
pub(super) fn with_header(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(text.len()).expect("short header");
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

/// A C-order array with this type and shape, both as NumPy writes them.
pub(super) fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    with_header(&text, data)
}

/// A file in a folder that lives as long as this value.
pub(super) struct TempFile {
    pub(super) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl TempFile {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("array.npy");
        std::fs::write(&path, bytes).expect("write");
        Self { path, _folder: folder }
    }
}
