//! Sparse matrices as `scipy.sparse.save_npz` writes them: a zip archive of arrays.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;
use npyz::TypeChar;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::NpyError;
use super::header::{self, Accepted, ArrayFile};

/// Bytes read at once, so that no size claimed by an archive is allocated before it is there.
const STEP: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    I32,
    I64,
    F32,
    F64,
}

const WHOLE: Accepted<Number> = Accepted {
    elements: &[(TypeChar::Int, 4, Number::I32), (TypeChar::Int, 8, Number::I64)],
    elements_text: "'<i4' or '<i8'",
    max_dimensions: 1,
    dimensions_text: "1",
    by_columns: false,
};

const DATA: Accepted<Number> = Accepted {
    elements: &[
        (TypeChar::Float, 4, Number::F32),
        (TypeChar::Float, 8, Number::F64),
        (TypeChar::Int, 4, Number::I32),
        (TypeChar::Int, 8, Number::I64),
    ],
    elements_text: "'<f4', '<f8', '<i4' or '<i8'",
    max_dimensions: 1,
    dimensions_text: "1",
    by_columns: false,
};

/// A sparse matrix in compressed rows (CSR), in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseMatrix {
    /// Start of each row, and the end of the last.
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl SparseMatrix {
    /// Reads a `.npz` file of a CSR matrix, compressed or not. Other numbers are rounded to f32.
    ///
    /// # Errors
    /// [`NpyError`] naming the member of the archive, if the file is no such matrix.
    pub fn open(path: &Path) -> Result<Self, NpyError> {
        let failed = |source| NpyError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file, &mut buffer);
        let zip = zip.map_err(|error| refused(path, error.to_string()))?;
        let archive = Archive { path: path.to_path_buf(), zip };
        let format = archive.format()?;
        if format != "csr" {
            let expected = "a matrix of compressed rows (`matrix.tocsr()`)";
            return Err(NpyError::Sparse { path: path.to_path_buf(), expected, got: format });
        }
        let shape = archive.whole("shape")?;
        let starts = archive.whole("indptr")?;
        let indices = archive.whole("indices")?;
        let values = archive.values("data")?;
        let rows = shape.first().copied().unwrap_or(0);
        let expected = "row starts that rise from 0 to the number of entries, one more than rows";
        let entries = indices.len() as u64;
        let fits = starts.first() == Some(&0) && starts.last() == Some(&entries);
        if !fits || !starts.is_sorted() || starts.len() as u64 != rows + 1 {
            let ends = (starts.first(), starts.last());
            let got = format!("{} of {ends:?} for {rows} rows", starts.len());
            return Err(NpyError::Sparse { path: archive.member("indptr"), expected, got });
        }
        if values.len() != indices.len() {
            let (expected, got) = ("a value for each index", values.len().to_string());
            return Err(NpyError::Sparse { path: archive.member("data"), expected, got });
        }
        let index = |&index: &u64| {
            u32::try_from(index).map_err(|_| {
                let (expected, got) = ("indices below 2^32", index.to_string());
                NpyError::Sparse { path: archive.member("indices"), expected, got }
            })
        };
        let indices = indices.iter().map(index).collect::<Result<_, _>>()?;
        let starts = starts.into_iter().map(|start| start as usize).collect();
        Ok(Self { starts, indices, values })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Indices and values of a row, in any order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.indices[range.clone()], &self.values[range])
    }
}

struct Archive {
    path: PathBuf,
    zip: ZipArchive<FileReader>,
}

impl Archive {
    /// A member, for errors.
    fn member(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.npy"))
    }

    /// Runs `read` on a member and its length.
    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Path, &mut dyn Read, u64) -> Result<T, NpyError>,
    ) -> Result<T, NpyError> {
        let member = self.member(name);
        let failed = |error: rawzip::Error| refused(&member, error.to_string());
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let mut entries = self.zip.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(failed)? {
            if entry.file_path().as_ref() != format!("{name}.npy").as_bytes() {
                continue;
            }
            let (method, size) = (entry.compression_method(), entry.uncompressed_size_hint());
            let found = self.zip.get_entry(entry.wayfinder()).map_err(failed)?;
            let stored = BufReader::new(found.reader());
            let mut file: Box<dyn Read> = match method {
                CompressionMethod::STORE => Box::new(found.verifying_reader(stored)),
                CompressionMethod::DEFLATE => {
                    Box::new(found.verifying_reader(DeflateDecoder::new(stored)))
                }
                other => return Err(refused(&member, format!("the compression {other:?}"))),
            };
            return read(&member, &mut file, size);
        }
        Err(refused(&member, "no such member".into()))
    }

    /// The name of the layout.
    fn format(&self) -> Result<String, NpyError> {
        self.read("format", |member, file, _| {
            let mut bytes = Vec::new();
            let read = file.take(STEP as u64).read_to_end(&mut bytes);
            read.map_err(|source| NpyError::Io { path: member.to_path_buf(), source })?;
            // A text of bytes, or of code points of 32 bits.
            let text = bytes.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
            let text = text.iter().filter(|&&byte| byte != 0).copied().collect::<Vec<u8>>();
            Ok(String::from_utf8_lossy(&text).chars().take(40).collect())
        })
    }

    /// Whole numbers of 0 or more.
    fn whole(&self, name: &str) -> Result<Vec<u64>, NpyError> {
        self.read(name, |member, file, size| {
            let array = header::of(member, file, size, &WHOLE)?;
            let mut numbers = Vec::new();
            each(member, array, |number, bytes| {
                let value = match number {
                    Number::I32 => i64::from(i32::from_le_bytes(first(bytes))),
                    _ => i64::from_le_bytes(first(bytes)),
                };
                numbers.push(value);
            })?;
            let whole = |value: i64| {
                u64::try_from(value).map_err(|_| {
                    let (expected, got) = ("numbers of 0 or more", value.to_string());
                    NpyError::Sparse { path: member.to_path_buf(), expected, got }
                })
            };
            numbers.into_iter().map(whole).collect()
        })
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, NpyError> {
        self.read(name, |member, file, size| {
            let array = header::of(member, file, size, &DATA)?;
            let mut values = Vec::new();
            each(member, array, |number, bytes| {
                values.push(match number {
                    Number::F32 => f32::from_le_bytes(first(bytes)),
                    Number::F64 => f64::from_le_bytes(first(bytes)) as f32,
                    Number::I32 => i32::from_le_bytes(first(bytes)) as f32,
                    Number::I64 => i64::from_le_bytes(first(bytes)) as f32,
                });
            })?;
            Ok(values)
        })
    }
}

/// Visits the elements of an array, as little-endian bytes.
fn each<R: Read>(
    member: &Path,
    mut array: ArrayFile<Number, R>,
    mut visit: impl FnMut(Number, &[u8]),
) -> Result<(), NpyError> {
    let size = match array.dtype {
        Number::I32 | Number::F32 => 4,
        Number::I64 | Number::F64 => 8,
    };
    let mut left = array.data_bytes();
    let mut bytes = vec![0; STEP.min(left)];
    while left > 0 {
        let part = &mut bytes[..STEP.min(left)];
        let read = array.read_exact(part);
        read.map_err(|source| NpyError::Io { path: member.to_path_buf(), source })?;
        part.chunks_exact(size).for_each(|element| visit(array.dtype, element));
        left -= part.len();
    }
    Ok(())
}

/// The first bytes, of which there are enough.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

fn refused(path: &Path, got: String) -> NpyError {
    let expected = "a sparse matrix of SciPy (`scipy.sparse.save_npz`)";
    NpyError::Sparse { path: path.to_path_buf(), expected, got }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use rawzip::ZipArchiveWriter;

    use super::super::fixture::array;
    use super::*;

    type Members = Vec<(&'static str, Vec<u8>)>;

    /// Rows {5: 0.5, 2: 1.5}, {} and {4294967295: 2}.
    fn members() -> Members {
        let i32s = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let i64s = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let f32s = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        vec![
            ("indices", array("<i8", "(3,)", &i64s(&[5, 2, i64::from(u32::MAX)]))),
            ("indptr", array("<i4", "(4,)", &i32s(&[0, 2, 2, 3]))),
            ("format", array("|S3", "()", b"csr")),
            ("shape", array("<i8", "(2,)", &i64s(&[3, 1 << 32]))),
            ("data", array("<f4", "(3,)", &f32s(&[0.5, 1.5, 2.0]))),
        ]
    }

    fn open(members: &Members, method: CompressionMethod) -> Result<SparseMatrix, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npz");
        let mut archive = ZipArchiveWriter::new(File::create(&path).unwrap());
        for (name, bytes) in members {
            let name = format!("{name}.npy");
            let (mut entry, config) =
                archive.new_file(&name).compression_method(method).start().unwrap();
            let descriptor = if method == CompressionMethod::STORE {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap().1
            } else {
                let deflated = DeflateEncoder::new(&mut entry, Compression::default());
                let mut writer = config.wrap(deflated);
                writer.write_all(bytes).unwrap();
                let (deflated, descriptor) = writer.finish().unwrap();
                deflated.finish().unwrap();
                descriptor
            };
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        SparseMatrix::open(&path)
            .map_err(|error| error.to_string().replace(path.to_str().unwrap(), "m.npz"))
    }

    #[test]
    fn rows_are_read_from_compressed_and_other_archives() {
        for method in [CompressionMethod::STORE, CompressionMethod::DEFLATE] {
            let matrix = open(&members(), method).unwrap();
            assert_eq!(matrix.rows(), 3);
            assert_eq!(matrix.row(0), (&[5, 2][..], &[0.5, 1.5][..]));
            assert_eq!(matrix.row(1), (&[][..], &[][..]));
            assert_eq!(matrix.row(2), (&[u32::MAX][..], &[2.0][..]));
        }
    }

    #[test]
    fn what_is_no_such_matrix_is_refused_by_the_name_of_its_part() {
        let stored = CompressionMethod::STORE;
        let with = |name: &str, bytes: Vec<u8>| {
            let mut all = members();
            all.iter_mut().filter(|(other, _)| *other == name).for_each(|m| m.1.clone_from(&bytes));
            open(&all, stored).unwrap_err()
        };
        let whole = |values: &[i32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            array("<i4", &format!("({},)", values.len()), &bytes)
        };
        assert_eq!(
            with("format", array("|S3", "()", b"csc")),
            "m.npz: expected a matrix of compressed rows (`matrix.tocsr()`), got csc"
        );
        assert_eq!(
            with("indices", whole(&[1, -1, 2])),
            "m.npz/indices.npy: expected numbers of 0 or more, got -1"
        );
        for starts in [&[0, 2, 1, 3][..], &[1, 2, 2, 3], &[0, 2, 3], &[0, 2, 2, 4]] {
            assert!(
                with("indptr", whole(starts)).starts_with("m.npz/indptr.npy: expected row starts")
            );
        }
        assert!(with("data", whole(&[1, 2])).contains("m.npz/data.npy: expected a value for each"));
        assert!(with("data", array("<c8", "(3,)", &[0; 24])).contains("expected elements of type"));
        // More elements than bytes: nothing is allocated by what a header says.
        let long = array("<i8", "(1000000000000,)", &[0; 8]);
        assert!(with("indices", long).contains("m.npz/indices.npy"));
        let mut few = members();
        few.truncate(3);
        assert!(open(&few, stored).unwrap_err().contains("m.npz/shape.npy"));
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), b"PK no zip").unwrap();
        assert!(SparseMatrix::open(path.path()).unwrap_err().to_string().contains("save_npz"));
    }
}
