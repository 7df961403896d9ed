//! The gRPC service in this process, on a free port.

use std::sync::Arc;

use lanner::{Database, DatabaseOptions, Metric, Point, QueryRequest, Vector, VectorField};
use lanner_client::proto::collection_service_client::CollectionServiceClient;
use lanner_client::proto::job_service_client::JobServiceClient;
use lanner_client::proto::point_service_client::PointServiceClient;
use lanner_client::proto::query_service_client::QueryServiceClient;
use lanner_client::{from_model, proto};
use lanner_server::{ServerConfig, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::Channel;

pub const MESSAGE_BYTES: usize = 1 << 20;

pub struct Server {
    pub database: Arc<Database>,
    pub address: std::net::SocketAddr,
    pub channel: Channel,
    pub stop: oneshot::Sender<()>,
    pub served: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A server with the collection `c`: fields `m` (multi, dot, 2) and `v` (single, cosine, 3).
    pub async fn start() -> Self {
        Self::start_with(DatabaseOptions::new()).await
    }

    pub async fn start_with(options: DatabaseOptions) -> Self {
        let server = Self::start_config(options, ServerConfig::default()).await;
        server.create("c").await.unwrap();
        server
    }

    /// A server with these settings and no collection.
    pub async fn start_config(options: DatabaseOptions, config: ServerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Arc::new(options.open(folder.path()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let config = ServerConfig { max_message_bytes: MESSAGE_BYTES, ..config };
        let serving = serve(database.clone(), listener, config, async {
            stopped.await.ok();
        });
        let served = tokio::spawn(async { serving.await.unwrap() });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { database, address, channel, stop, served, _folder: folder }
    }

    pub fn collections(&self) -> CollectionServiceClient<Channel> {
        CollectionServiceClient::new(self.channel.clone())
    }

    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    /// Waits until a job is done.
    pub async fn ended(&self, job: Option<proto::Job>) {
        let id = job.unwrap().id;
        let watch = self.jobs().watch_job(proto::WatchJobRequest { id }).await;
        let (mut answers, mut last) = (watch.unwrap().into_inner(), None);
        while let Some(answer) = answers.message().await.unwrap() {
            last = answer.job;
        }
        let last = last.unwrap();
        assert_eq!(last.state(), proto::JobState::Done, "{last:?}");
    }

    pub fn points(&self) -> PointServiceClient<Channel> {
        PointServiceClient::new(self.channel.clone())
    }

    pub fn queries(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone())
    }

    pub async fn create(&self, name: &str) -> Result<(), Status> {
        let config = lanner::CollectionConfig::new()
            .with_field("m", VectorField::multi(2, Metric::Dot))
            .with_field("v", VectorField::single(3, Metric::Cosine));
        let config = Some(from_model::config(&config));
        let request =
            proto::CreateCollectionRequest { name: name.to_owned(), config, ..Default::default() };
        self.collections().create_collection(request).await.map(drop)
    }

    pub async fn upsert(&self, points: Vec<proto::Point>) -> Result<proto::WriteReceipt, Status> {
        let request = proto::UpsertPointsRequest { collection: "c".into(), points, durability: 0 };
        let answer = self.points().upsert_points(request).await?;
        Ok(answer.into_inner().receipt.unwrap())
    }

    pub async fn search(
        &self,
        search: proto::SearchRequest,
    ) -> Result<proto::SearchResponse, Status> {
        self.search_in("c", search).await
    }

    pub async fn search_in(
        &self,
        collection: &str,
        search: proto::SearchRequest,
    ) -> Result<proto::SearchResponse, Status> {
        let request = proto::QueryRequest { collection: collection.into(), search: Some(search) };
        Ok(self.queries().query(request).await?.into_inner().result.unwrap())
    }

    pub fn count(&self) -> u64 {
        self.database.collection("c").unwrap().count()
    }
}

pub fn point(id: u64, vector: &[f32]) -> Point {
    Point::new(id).with_vector("v", vector.to_vec())
}

pub fn message(id: u64, vector: &[f32]) -> proto::Point {
    from_model::point(&point(id, vector))
}

pub fn search(field: &str, vector: impl Into<Vector>, limit: u32) -> proto::SearchRequest {
    let request = QueryRequest::new(field, vector.into()).limit(limit as usize);
    from_model::search(&request)
}
