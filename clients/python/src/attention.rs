//! The index of the keys of one attention head.

use std::cell::RefCell;
use std::ops::Range;

use half::slice::HalfBitsSliceExt;
use lanner::attention::{
    Attention, Elements, KeyIndex, KeyIndexSettings, Request, Rows, Searcher, Target, Tensors,
    sparse_attention,
};
use lanner_client::MatrixValues;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::arrays::Matrix;
use crate::errors::{failed, mismatch};

thread_local! {
    static MEMORY: RefCell<(Searcher, Attention)> = RefCell::default();
}

/// A borrowed matrix: of f32 or f16, or of u16, which are the bits of bf16.
enum Tensor<'py> {
    Floats(Matrix<'py>),
    Bits(PyReadonlyArray2<'py, u16>),
}

impl<'py> Tensor<'py> {
    fn borrow(array: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        match array.cast::<PyArray2<u16>>() {
            Ok(bits) => bits.try_readonly().map(Self::Bits).map_err(|error| {
                mismatch(array.py(), name, "an array that nobody writes to", error)
            }),
            Err(_) => Matrix::borrow(array, name).map(Self::Floats),
        }
    }

    fn rows(&self, py: Python<'_>, name: &str) -> PyResult<Rows<'_>> {
        let (elements, dimension) = match self {
            Self::Floats(matrix) => match matrix.values(py, name)? {
                MatrixValues::F32(values) => (Elements::F32(values), matrix.shape()[1]),
                MatrixValues::F16(values) => (Elements::F16(values), matrix.shape()[1]),
                MatrixValues::Entries(_) => {
                    return Err(mismatch(py, name, "a matrix of numbers", "sparse vectors"));
                }
            },
            Self::Bits(array) => {
                let contiguous = "a contiguous array of bfloat16";
                let bits = array
                    .as_slice()
                    .map_err(|_| mismatch(py, name, contiguous, "another layout"))?;
                (Elements::Bf16(bits.reinterpret_cast()), array.shape()[1])
            }
        };
        Rows::new(elements, dimension).map_err(|error| refused(py, error))
    }
}

fn refused(py: Python<'_>, error: lanner::Error) -> PyErr {
    failed(py, &error.into())
}

/// Parts of a request: number of keys or share of the softmax, scale, excluded ranges, tokens of a
/// page, whether all codes are scored, and the number of samples.
#[derive(FromPyObject)]
pub struct RequestParts {
    k: Option<usize>,
    mass: Option<f32>,
    scale: Option<f32>,
    exclude: Vec<(usize, usize)>,
    page: usize,
    scan: bool,
    samples: usize,
}

impl RequestParts {
    fn ranges(&self) -> Vec<Range<usize>> {
        self.exclude.iter().map(|&(start, end)| start..end).collect()
    }

    fn request<'a>(&self, py: Python<'_>, ranges: &'a [Range<usize>]) -> PyResult<Request<'a>> {
        let target = match (self.k, self.mass) {
            (Some(k), None) => Target::Keys(k),
            (None, Some(mass)) => Target::Mass(mass),
            _ => return Err(mismatch(py, "k", "either k or mass", "both or none")),
        };
        let mut request = Request::new(target).excluding(ranges).pages_of(self.page);
        if let Some(scale) = self.scale {
            request = request.scale(scale);
        }
        if self.scan {
            request = request.scanning();
        }
        Ok(request.sampling(self.samples))
    }
}

/// Ids and products of all queries, the end of those of each, and the number of keys scored.
type Hits<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

fn hits<'py>(py: Python<'py>, searchers: &[Searcher]) -> Hits<'py> {
    let (mut ids, mut products) = (Vec::new(), Vec::new());
    let (mut offsets, mut scored) = (vec![0], Vec::new());
    for searcher in searchers {
        for head in 0..searcher.heads() {
            let hits = searcher.head(head);
            ids.extend_from_slice(hits.ids);
            products.extend_from_slice(hits.products);
            offsets.push(ids.len() as i64);
            scored.push(hits.scored as i64);
        }
    }
    (
        PyArray1::from_vec(py, ids),
        PyArray1::from_vec(py, products),
        PyArray1::from_vec(py, offsets),
        PyArray1::from_vec(py, scored),
    )
}

/// Outputs, log-sum-exp, and of the coverage the estimate, the bound and the number of keys.
type Attended<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<i64>>,
);

/// See `lanner.attention`.
#[pyclass(frozen, name = "KeyIndex", module = "lanner._native")]
pub struct PyKeyIndex(KeyIndex);

#[pymethods]
impl PyKeyIndex {
    #[new]
    fn new(
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        queries: &Bound<'_, PyAny>,
        share: f32,
        lists: Option<usize>,
        seed: u64,
    ) -> PyResult<Self> {
        let (keys, queries) = (Tensor::borrow(keys, "keys")?, Tensor::borrow(queries, "queries")?);
        let (keys, queries) = (keys.rows(py, "keys")?, queries.rows(py, "queries")?);
        let settings = KeyIndexSettings { share, lists, seed };
        let built = py.detach(|| KeyIndex::build(keys, queries, settings));
        built.map(Self).map_err(|error| refused(py, error))
    }

    fn append(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        let keys = Tensor::borrow(keys, "keys")?;
        let rows = keys.rows(py, "keys")?;
        py.detach(|| self.0.append(rows)).map_err(|error| refused(py, error))
    }

    fn fork(&self) -> Self {
        Self(self.0.fork())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn lists(&self) -> usize {
        self.0.lists()
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        keys: Option<&Bound<'py, PyAny>>,
        parts: RequestParts,
    ) -> PyResult<Hits<'py>> {
        let queries = Tensor::borrow(queries, "queries")?;
        let keys = keys.map(|keys| Tensor::borrow(keys, "keys")).transpose()?;
        let queries = queries.rows(py, "queries")?;
        let keys = keys.as_ref().map(|keys| keys.rows(py, "keys")).transpose()?;
        let ranges = parts.ranges();
        let request = parts.request(py, &ranges)?;
        MEMORY.with_borrow_mut(|(searcher, _)| {
            py.detach(|| self.0.search(queries, keys, &request, searcher))
                .map_err(|error| refused(py, error))?;
            Ok(hits(py, std::slice::from_ref(searcher)))
        })
    }

    fn attend<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        keys: &Bound<'py, PyAny>,
        values: &Bound<'py, PyAny>,
        parts: RequestParts,
    ) -> PyResult<Attended<'py>> {
        let queries = Tensor::borrow(queries, "queries")?;
        let (keys, values) = (Tensor::borrow(keys, "keys")?, Tensor::borrow(values, "values")?);
        let tensors = Tensors {
            queries: queries.rows(py, "queries")?,
            keys: keys.rows(py, "keys")?,
            values: values.rows(py, "values")?,
        };
        let ranges = parts.ranges();
        let request = parts.request(py, &ranges)?;
        MEMORY.with_borrow_mut(|(searcher, output)| {
            py.detach(|| sparse_attention(&self.0, tensors, &request, searcher, output))
                .map_err(|error| refused(py, error))?;
            attended(py, output, tensors.values.dimension())
        })
    }
}

fn attended<'py>(py: Python<'py>, output: &Attention, width: usize) -> PyResult<Attended<'py>> {
    let heads = output.heads();
    let coverage = |head: usize| output.coverage(head);
    let floats = |of: &dyn Fn(usize) -> f32| {
        PyArray1::from_vec(py, (0..heads).map(of).collect::<Vec<f32>>())
    };
    let outputs = PyArray1::from_slice(py, output.outputs()).reshape([heads, width])?;
    let keys = (0..heads).map(|head| coverage(head).keys as i64).collect();
    Ok((
        outputs,
        floats(&|head| output.log_sum_exp(head)),
        floats(&|head| coverage(head).estimate),
        floats(&|head| coverage(head).at_least),
        PyArray1::from_vec(py, keys),
    ))
}

/// Searches many indexes on all cores.
#[pyfunction]
pub fn search_heads<'py>(
    py: Python<'py>,
    indexes: Vec<Py<PyKeyIndex>>,
    queries: &Bound<'py, PyAny>,
    keys: Option<Vec<Bound<'py, PyAny>>>,
    parts: RequestParts,
) -> PyResult<Hits<'py>> {
    let queries = Tensor::borrow(queries, "queries")?;
    let queries = queries.rows(py, "queries")?;
    let keys = keys.unwrap_or_default();
    let name = |at: usize| format!("keys[{at}]");
    let tensors: Vec<Tensor<'_>> = keys
        .iter()
        .enumerate()
        .map(|(at, keys)| Tensor::borrow(keys, &name(at)))
        .collect::<PyResult<_>>()?;
    let rows: Vec<Rows<'_>> = tensors
        .iter()
        .enumerate()
        .map(|(at, keys)| keys.rows(py, &name(at)))
        .collect::<PyResult<_>>()?;
    let rows = (!rows.is_empty()).then_some(&rows[..]);
    let ranges = parts.ranges();
    let request = parts.request(py, &ranges)?;
    let borrowed: Vec<&KeyIndex> = indexes.iter().map(|index| &index.get().0).collect();
    let mut searchers: Vec<Searcher> = indexes.iter().map(|_| Searcher::new()).collect();
    py.detach(|| {
        lanner::attention::search_heads(&borrowed, queries, rows, &request, &mut searchers)
    })
    .map_err(|error| refused(py, error))?;
    Ok(hits(py, &searchers))
}
