//! The database as Python has it: what `lanner.Database` and `lanner.Collection` call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lanner::{DatabaseOptions, FusionRequest, GroupRequest, TrainingQueries};
use lanner_client::{Credentials, Embedded, Limits, Remote};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::answers::{Answer, BatchAnswer};
use crate::arrays::training_queries;
use crate::calls::{Calls, PyCancelToken, Shared};
use crate::errors::{Result, failed, invalid, mismatch};
use crate::jobs::{self, JobParts};
use crate::points::{PointParts, filter, include, to_all_parts};
use crate::queries::{self, GroupParts, OrderedParts, Page};
use crate::request::Request;
use crate::settings;
use crate::writes::{self, ColumnParts, UpdateParts, durability, id_list};

/// Queries to train on: a matrix, and offsets of a multi field.
type QueryParts<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// Seconds that the first call to a server may take.
const FIRST_CALL_SECONDS: f64 = 10.0;

/// Name, and number of points or why it is unusable.
type CollectionParts = (String, Option<u64>, Option<String>);

/// A database, and the limits of the calls that are made here.
#[pyclass(frozen, module = "lanner._native")]
pub struct Backend(Calls);

#[pymethods]
#[allow(clippy::too_many_arguments, reason = "the options of calls in Python")]
impl Backend {
    #[staticmethod]
    #[pyo3(signature = (path, threads, build_threads, index_rows, seal_bytes, segment_bytes))]
    fn open(
        py: Python<'_>,
        path: &str,
        threads: usize,
        build_threads: usize,
        index_rows: Option<u32>,
        seal_bytes: Option<u64>,
        segment_bytes: Option<u64>,
    ) -> PyResult<Self> {
        let mut options = DatabaseOptions::new().threads(threads).build_threads(build_threads);
        options = index_rows.map_or(options.clone(), |rows| options.index_rows(rows));
        options = seal_bytes.map_or(options.clone(), |bytes| options.seal_bytes(bytes));
        options = segment_bytes.map_or(options.clone(), |bytes| options.segment_bytes(bytes));
        let opened = py.detach(|| -> Result<_> { Ok(options.open(Path::new(path))?) });
        let database = opened.map_err(|error| failed(py, &error))?;
        let shared = Arc::new(Shared::new(Arc::new(Embedded::new(database)), true));
        Ok(Self(Calls { shared, limits: Limits::default() }))
    }

    #[staticmethod]
    #[pyo3(signature = (address, api_key, roots, identity, timeout, retries))]
    fn connect(
        py: Python<'_>,
        address: &str,
        api_key: Option<String>,
        roots: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        timeout: Option<f64>,
        retries: u32,
    ) -> PyResult<Self> {
        let credentials = Credentials { api_key, ca: roots, identity };
        let connected = py.detach(|| Remote::connect_with(address, &credentials, retries));
        let remote = connected.map_err(|error| failed(py, &error))?;
        let shared = Arc::new(Shared::new(Arc::new(remote), false));
        let backend = Self(Calls { shared, limits: Limits::default() });
        let backend = backend.within(py, timeout, None)?;
        // A first call says whether it is a server of Lanner, and lets us in.
        let first = timeout.map_or(FIRST_CALL_SECONDS, |timeout| timeout.min(FIRST_CALL_SECONDS));
        backend.within(py, Some(first), None)?.jobs(py)?;
        Ok(backend)
    }

    #[pyo3(signature = (timeout, token))]
    fn within(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        token: Option<&PyCancelToken>,
    ) -> PyResult<Self> {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| mismatch(py, "timeout", "a number of seconds", seconds))
        };
        let old = &self.0.limits;
        let limits = Limits {
            timeout: timeout.map(seconds).transpose()?.or(old.timeout),
            cancelled: token.map(PyCancelToken::token).or_else(|| old.cancelled.clone()),
        };
        Ok(Self(Calls { shared: self.0.shared.clone(), limits }))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.shared.close(py)
    }

    /// Seconds that a call may take.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.0.limits.timeout.map(|timeout| timeout.as_secs_f64())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.0.shared.is_closed()
    }

    fn create(
        &self,
        py: Python<'_>,
        name: &str,
        config: &str,
        training: BTreeMap<String, QueryParts<'_>>,
    ) -> PyResult<()> {
        let config = settings::config(config).map_err(|error| invalid(py, error))?;
        let queries = training
            .iter()
            .map(|(field, parts)| Ok::<_, PyErr>((field.clone(), training_queries(parts)?)));
        let queries = queries.collect::<PyResult<BTreeMap<String, TrainingQueries>>>()?;
        self.0.long(py, |backend| backend.create(name, &config, &queries))
    }

    fn drop(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.0.long(py, |backend| backend.drop_collection(name))
    }

    fn collections(&self, py: Python<'_>) -> PyResult<Vec<CollectionParts>> {
        let found = self.0.long(py, |backend| backend.list())?;
        let parts = |(name, found): (String, std::result::Result<u64, String>)| match found {
            Ok(points) => (name, Some(points), None),
            Err(error) => (name, None, Some(error)),
        };
        Ok(found.into_iter().map(parts).collect())
    }

    fn info(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        self.0.short(py, |backend| Ok(settings::describe(&backend.info(name)?)))
    }

    #[pyo3(signature = (name, first, ids, vectors, payloads, buffered))]
    fn upsert(
        &self,
        py: Python<'_>,
        name: &str,
        first: usize,
        ids: &Bound<'_, PyAny>,
        vectors: Vec<ColumnParts<'_>>,
        payloads: Option<Vec<Option<PyBackedStr>>>,
        buffered: bool,
    ) -> PyResult<u64> {
        writes::upsert(&self.0, py, name, first, ids, vectors, payloads, buffered)
    }

    fn update_vectors<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        ids: &Bound<'_, PyAny>,
        vectors: Vec<ColumnParts<'_>>,
        buffered: bool,
    ) -> PyResult<UpdateParts<'py>> {
        writes::update_vectors(&self.0, py, name, ids, vectors, buffered)
    }

    fn update_payloads<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        points: &Bound<'_, PyAny>,
        how: &str,
        value: &Bound<'_, PyAny>,
        buffered: bool,
    ) -> PyResult<UpdateParts<'py>> {
        writes::update_payloads(&self.0, py, name, points, how, value, buffered)
    }

    fn delete(
        &self,
        py: Python<'_>,
        name: &str,
        ids: &Bound<'_, PyAny>,
        buffered: bool,
    ) -> PyResult<u64> {
        let ids = id_list(ids)?;
        let deleted = self.0.long(py, |backend| backend.delete(name, ids, durability(buffered)))?;
        Ok(deleted.affected)
    }

    fn delete_where(
        &self,
        py: Python<'_>,
        name: &str,
        condition: &str,
        buffered: bool,
    ) -> PyResult<u64> {
        let condition = filter(py, Some(condition))?.unwrap_or(lanner::Filter::Or(Vec::new()));
        let deleted = self
            .0
            .long(py, |backend| backend.delete_where(name, &condition, durability(buffered)))?;
        Ok(deleted.affected)
    }

    fn query(&self, py: Python<'_>, name: &str, request: &Request) -> PyResult<Answer> {
        Ok(Answer::new(self.0.query(py, |backend| backend.query(name, &request.0))?))
    }

    #[pyo3(signature = (name, request, queries, offsets, indices))]
    fn batch(
        &self,
        py: Python<'_>,
        name: &str,
        request: &Request,
        queries: &Bound<'_, PyAny>,
        offsets: Option<&Bound<'_, PyAny>>,
        indices: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BatchAnswer> {
        let queries = queries::all(py, queries, offsets, indices)?;
        queries::batch(&self.0, py, name, &request.0, queries)
    }

    #[pyo3(signature = (name, searches, weights, k, scores, limit, offset, with_payload, with_vectors,
        explain))]
    fn fuse(
        &self,
        py: Python<'_>,
        name: &str,
        searches: Vec<Bound<'_, PyAny>>,
        weights: Option<Vec<f32>>,
        k: Option<f32>,
        scores: Option<&str>,
        limit: usize,
        offset: usize,
        with_payload: bool,
        with_vectors: bool,
        explain: bool,
    ) -> PyResult<Answer> {
        let queries = queries::searches(&searches)?;
        let method = queries::fusion_method(py, k, scores)?;
        let include = include(with_payload, with_vectors);
        let request = FusionRequest { queries, weights, limit, offset, method, include, explain };
        queries::fuse(&self.0, py, name, &request)
    }

    fn groups(
        &self,
        py: Python<'_>,
        name: &str,
        request: &Request,
        path: &str,
        group_size: usize,
    ) -> PyResult<GroupParts> {
        let request = GroupRequest::new(request.0.clone(), path).group_size(group_size);
        queries::groups(&self.0, py, name, &request)
    }

    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        ids: &Bound<'_, PyAny>,
        with_payload: bool,
        with_vectors: bool,
    ) -> PyResult<Vec<PointParts<'py>>> {
        let (ids, include) = (id_list(ids)?, include(with_payload, with_vectors));
        let found = self.0.short(py, |backend| backend.get(name, &ids, include))?;
        to_all_parts(py, &found)
    }

    #[pyo3(signature = (name, condition, after, limit, with_payload, with_vectors))]
    fn scroll<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        condition: Option<&str>,
        after: Option<&Bound<'py, PyAny>>,
        limit: usize,
        with_payload: bool,
        with_vectors: bool,
    ) -> PyResult<(Vec<PointParts<'py>>, Option<Bound<'py, PyAny>>)> {
        let page = Page { name, condition, limit, with_payload, with_vectors };
        queries::scroll(&self.0, py, &page, after)
    }

    #[pyo3(signature = (name, path, descending, condition, after, limit, with_payload, with_vectors))]
    fn scroll_ordered<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        path: &str,
        descending: bool,
        condition: Option<&str>,
        after: Option<(String, Bound<'py, PyAny>)>,
        limit: usize,
        with_payload: bool,
        with_vectors: bool,
    ) -> PyResult<OrderedParts<'py>> {
        let page = Page { name, condition, limit, with_payload, with_vectors };
        queries::scroll_ordered(&self.0, py, &page, path, descending, after)
    }

    #[pyo3(signature = (name, condition))]
    fn count(&self, py: Python<'_>, name: &str, condition: Option<&str>) -> PyResult<u64> {
        match filter(py, condition)? {
            Some(condition) => self.0.long(py, |backend| backend.count(name, Some(&condition))),
            None => self.0.short(py, |backend| backend.count(name, None)),
        }
    }

    #[pyo3(signature = (name, path, condition, limit))]
    fn facet(
        &self,
        py: Python<'_>,
        name: &str,
        path: &str,
        condition: Option<&str>,
        limit: usize,
    ) -> PyResult<(Vec<(String, u64)>, u64)> {
        queries::facet(&self.0, py, name, path, condition, limit)
    }

    fn flush(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.0.long(py, |backend| backend.flush(name))
    }

    #[pyo3(signature = (name, field, sample))]
    fn train(
        &self,
        py: Python<'_>,
        name: &str,
        field: &str,
        sample: Option<QueryParts<'_>>,
    ) -> PyResult<JobParts> {
        let sample = sample.as_ref().map(training_queries).transpose()?;
        let job = self.0.long(py, |backend| backend.train(name, field, sample.as_ref()))?;
        Ok(jobs::to_parts(&job))
    }

    fn optimize(&self, py: Python<'_>, name: &str) -> PyResult<JobParts> {
        Ok(jobs::to_parts(&self.0.long(py, |backend| backend.optimize(name))?))
    }

    fn declare(
        &self,
        py: Python<'_>,
        name: &str,
        path: &str,
        payload_type: &str,
    ) -> PyResult<JobParts> {
        let payload_type =
            settings::payload_type(path, payload_type).map_err(|error| invalid(py, error))?;
        Ok(jobs::to_parts(&self.0.long(py, |backend| backend.declare(name, path, payload_type))?))
    }

    fn verify(&self, py: Python<'_>, name: &str) -> PyResult<JobParts> {
        Ok(jobs::to_parts(&self.0.long(py, |backend| backend.verify(name))?))
    }

    fn jobs(&self, py: Python<'_>) -> PyResult<Vec<JobParts>> {
        let found = self.0.long(py, |backend| backend.jobs())?;
        Ok(found.iter().map(jobs::to_parts).collect())
    }

    #[pyo3(signature = (id, progress))]
    fn wait(&self, py: Python<'_>, id: u64, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        jobs::wait(&self.0, py, id, progress)
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        self.0.long(py, |backend| backend.cancel(id))
    }
}
