//! Writes the vectors of one field as a matrix, and the ids beside them.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Format, NewFile, Sink};
use crate::error::{CliError, Result};
use lanner::{CollectionConfig, ElementType, Point, PointId, Vector, VectorKind};
use lanner_eval::{FvecsWriter, NpyWriter};

/// What a matrix holds.
#[derive(Args)]
pub struct MatrixArguments {
    /// Field of the vectors, for .npy and .fvecs; by default the only single-vector field
    #[arg(long)]
    field: Option<String>,
    /// File for the ids of the rows, one a line, for .npy and .fvecs
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

impl MatrixArguments {
    /// The name of a flag that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [("--field", self.field.is_some()), ("--ids", self.ids.is_some())];
        flags.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Vectors row by row. Points without a vector in the field are left out.
pub struct MatrixSink {
    path: PathBuf,
    field: String,
    matrix: Matrix,
    ids: Option<Ids>,
    points: u64,
    left_out: u64,
}

enum Matrix {
    Npy(NpyWriter<BufWriter<NewFile>>),
    Fvecs(FvecsWriter<BufWriter<NewFile>>),
}

/// The file of ids, which are all numbers or all texts.
struct Ids {
    path: PathBuf,
    file: BufWriter<NewFile>,
    first: Option<PointId>,
}

impl MatrixSink {
    /// Begins the files.
    ///
    /// # Errors
    /// If no field is named and there is not exactly one of single vectors, the field holds many
    /// vectors a point, or a file cannot be written.
    pub fn create(
        path: &Path,
        format: Format,
        replaces: bool,
        config: &CollectionConfig,
        arguments: &MatrixArguments,
    ) -> Result<Self> {
        let (name, field) = single_field(config, arguments.field.as_deref())?;
        let (path, failed) = (path.to_path_buf(), CliError::file("write", path));
        let ids = arguments.ids.as_deref().map(|path| Ids::create(path, replaces)).transpose()?;
        // Vectors that were dropped are not of half precision when they are reconstructed.
        let half = field.element == ElementType::F16 && field.compression.keep_raw;
        let matrix = match format {
            Format::Npy => {
                let file = NewFile::create(&path, replaces)?;
                Matrix::Npy(NpyWriter::new(file, field.dimension, half).map_err(failed)?)
            }
            Format::Fvecs => Matrix::Fvecs(FvecsWriter::new(NewFile::create(&path, replaces)?)),
            other => {
                let problem =
                    format!("{} is read, not written: write fvecs or npy", other.as_str());
                return Err(CliError::Usage(problem));
            }
        };
        Ok(Self { path, field: name.to_owned(), matrix, ids, points: 0, left_out: 0 })
    }

    fn push(&mut self, values: &[f32]) -> Result<()> {
        let written = match &mut self.matrix {
            Matrix::Npy(writer) => writer.push(values),
            Matrix::Fvecs(writer) => writer.push(values),
        };
        written.map_err(CliError::file("write", &self.path))
    }
}

/// The field of this name, or the only one, of single vectors.
pub fn single_field<'c>(
    config: &'c CollectionConfig,
    name: Option<&str>,
) -> Result<(&'c str, &'c lanner::VectorField)> {
    let is_single = |field: &lanner::VectorField| field.kind == VectorKind::Single;
    if let Some(name) = name {
        config.field(name)?;
    }
    let mut singles = config.fields.iter().filter(|(_, field)| is_single(field));
    let found = match name {
        Some(name) => singles.find(|(other, _)| *other == name),
        None => singles.next().filter(|_| singles.next().is_none()),
    };
    found.map(|(name, field)| (name.as_str(), field)).ok_or_else(|| {
        let names: Vec<&str> = config.fields.keys().map(String::as_str).collect();
        let names = names.join(", ");
        CliError::Usage(match name {
            Some(name) => format!(
                "a matrix has one vector a point, but the field `{name}` has many: use Parquet, Arrow or \
                 JSON lines"
            ),
            None => format!(
                "a matrix has the vectors of one single-vector field: say which (fields: {names})"
            ),
        })
    })
}

impl Ids {
    fn create(path: &Path, replaces: bool) -> Result<Self> {
        let file = NewFile::create(path, replaces)?;
        Ok(Self { path: path.to_path_buf(), file, first: None })
    }

    fn push(&mut self, id: PointId) -> Result<()> {
        let text = match &id {
            PointId::Number(number) => number.to_string(),
            PointId::Text(text) if text.contains(['\n', '\r']) => return Err(self.unfit(&id)),
            PointId::Text(text) => text.to_string(),
        };
        writeln!(self.file, "{text}").map_err(CliError::file("write", &self.path))?;
        let first = self.first.get_or_insert_with(|| id.clone());
        let alike = matches!(first, PointId::Number(_)) == matches!(id, PointId::Number(_));
        if alike { Ok(()) } else { Err(self.unfit(&id)) }
    }

    fn unfit(&self, id: &PointId) -> CliError {
        CliError::Usage(format!(
            "`{}`: expected ids that are all numbers or all texts of a line, got {id}: use Parquet, Arrow \
             or JSON lines",
            self.path.display()
        ))
    }
}

impl Sink for MatrixSink {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        for point in points {
            let Some(Vector::Single(values)) = point.vectors.get(&self.field) else {
                self.left_out += 1;
                continue;
            };
            self.push(values)?;
            if let Some(ids) = &mut self.ids {
                ids.push(point.id)?;
            }
            self.points += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<u64> {
        let file = match self.matrix {
            Matrix::Npy(writer) => writer.finish().map_err(CliError::file("write", &self.path))?,
            Matrix::Fvecs(writer) => writer.into_inner(),
        };
        NewFile::publish(file)?;
        if let Some(ids) = self.ids {
            NewFile::publish(ids.file)?;
        }
        if self.left_out > 0 {
            eprintln!("{} points without `{}` were left out", self.left_out, self.field);
        }
        Ok(self.points)
    }
}
