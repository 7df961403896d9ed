//! Writing to a server, batch by batch or as a stream.

use std::ops::Range;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::calls::{Attempts, Ends, Pauses};
use super::{MESSAGE_BYTES, Remote};
use crate::backend::{Backend, Refused, Writer};
use crate::columns::PointColumns;
use crate::cut::cut;
use crate::error::{ClientError, Result};
use crate::messages::{from_model, to_model};
use crate::proto;
use lanner::{Durability, Point, PointBatchBuilder};

/// Bytes of vectors and payloads per message of a stream. One message is prepared while the server
/// writes another, and at most a third is in flight: HTTP/2 flow control holds back what the server
/// does not read.
const STREAM_BYTES: usize = 4 << 20;

/// Writes points to one collection.
pub struct RemoteWriter<'r> {
    remote: &'r Remote,
    name: String,
    durability: Durability,
    stored: u64,
}

/// Outcome of a stream.
enum Ended {
    /// Everything was acknowledged.
    Done,
    /// The connection or the server failed.
    Failed(Status),
    /// A point was rejected, or the stream ended early.
    Refused(ClientError),
}

impl<'r> RemoteWriter<'r> {
    pub(super) fn new(remote: &'r Remote, name: &str, durability: Durability) -> Self {
        Self { remote, name: name.to_owned(), durability, stored: 0 }
    }

    fn send(&mut self, points: Vec<proto::Point>) -> Result<()> {
        let request = proto::UpsertPointsRequest {
            collection: self.name.clone(),
            points,
            durability: from_model::durability(self.durability).into(),
        };
        let answer = self.remote.ask(Attempts::Many, request, async |message| {
            self.remote.points().upsert_points(message).await
        })?;
        self.stored += to_model::receipt(answer.receipt)?.affected;
        Ok(())
    }

    /// Streams parts of the points. While the server is unavailable, retries from the first
    /// unacknowledged part.
    async fn stream(&mut self, points: &PointColumns<'_>, parts: &[Range<usize>]) -> Result<()> {
        let mut pauses = Pauses::new(self.remote.connection.retries);
        let mut acknowledged = 0;
        loop {
            let before = acknowledged;
            let failed = match self.stream_once(points, parts, &mut acknowledged).await {
                Ended::Done => return Ok(()),
                Ended::Failed(status) => status,
                Ended::Refused(error) => return Err(error),
            };
            if acknowledged > before {
                pauses = Pauses::new(self.remote.connection.retries);
            }
            match pauses.next(&failed) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failed.into()),
            }
        }
    }

    async fn stream_once(
        &mut self,
        points: &PointColumns<'_>,
        parts: &[Range<usize>],
        acknowledged: &mut usize,
    ) -> Ended {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.remote.points();
        let answers = client.stream_upsert_points(ReceiverStream::new(receiver)).await;
        let mut answers = match answers {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ended::Failed(status),
        };
        let (name, durability) = (self.name.clone(), from_model::durability(self.durability));
        let rest = &parts[*acknowledged..];
        let send = async move {
            for part in rest {
                let request = proto::StreamUpsertPointsRequest {
                    collection: name.clone(),
                    points: points.messages(part.clone()),
                    durability: durability.into(),
                };
                // The receiving side reports why the stream has ended.
                if sender.send(request).await.is_err() {
                    return;
                }
            }
        };
        let receive = async {
            for part in rest {
                let answer = match answers.message().await {
                    Ok(Some(answer)) => answer,
                    // A server that shuts down ends streams without an error.
                    Ok(None) => return Ended::Refused(ClientError::StreamEnded),
                    Err(status) => return Ended::Failed(status),
                };
                if let Err(error) = self.take(points.first + part.start, answer) {
                    return Ended::Refused(error);
                }
                *acknowledged += 1;
            }
            Ended::Done
        };
        tokio::pin!(send);
        tokio::pin!(receive);
        tokio::select! {
            ended = &mut receive => ended,
            () = &mut send => receive.await,
        }
    }

    /// Counts the points that a response acknowledges; `first` is the index of its first point.
    fn take(&mut self, first: usize, answer: proto::StreamUpsertPointsResponse) -> Result<()> {
        if let Some(receipt) = answer.receipt {
            self.stored += to_model::receipt(Some(receipt))?.affected;
        }
        // All points were validated before, so this means that the collection was recreated
        // meanwhile.
        match answer.errors.into_iter().next() {
            Some(proto::PointError { index, id, message: reason }) => {
                let id = to_model::point_id(id, "errors.id")?;
                Err(ClientError::Refused { index: first + index as usize, id, reason })
            }
            None => Ok(()),
        }
    }
}

impl Writer for RemoteWriter<'_> {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        let mut parts = parts(&points).into_iter();
        parts.try_for_each(|part| self.send(points[part].iter().map(from_model::point).collect()))
    }

    fn write_columns(&mut self, points: PointColumns<'_>) -> Result<()> {
        points.check()?;
        let parts = points.parts(STREAM_BYTES);
        // The server numbers points within a message.
        if let ([part], 0) = (&parts[..], points.first) {
            return self.send(points.messages(part.clone()));
        }
        let config = self.remote.info(&self.name)?.config;
        points.fill(&mut PointBatchBuilder::new(&config))?;
        let remote = self.remote;
        let limits = Ends::from_now(&remote.limits);
        remote.connection.runtime.block_on(limits.before(self.stream(&points, &parts)))?
    }

    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()> {
        if points.is_empty() {
            return Ok(());
        }
        let parts = parts(&points);
        let starts: Vec<usize> = parts.iter().map(|part| part.start).collect();
        let (collection, durability) = (self.name.clone(), from_model::durability(self.durability));
        let requests = parts.into_iter().map(move |part| proto::StreamUpsertPointsRequest {
            collection: collection.clone(),
            points: points[part].iter().map(from_model::point).collect(),
            durability: durability.into(),
        });
        let requests = tokio_stream::iter(requests);
        let mut client = self.remote.points();
        let answers = self.remote.within_limits(client.stream_upsert_points(requests))?;
        let mut answers = answers.into_inner();
        for start in starts {
            let answer = self.remote.within_limits(answers.message())?;
            // A server that shuts down ends streams without an error.
            let answer = answer.ok_or(ClientError::StreamEnded)?;
            for proto::PointError { index, id, message: reason } in answer.errors {
                let (index, id) = (start + index as usize, to_model::point_id(id, "errors.id")?);
                refused.push(Refused { index, id, reason });
            }
            if let Some(receipt) = answer.receipt {
                self.stored += to_model::receipt(Some(receipt))?.affected;
            }
        }
        Ok(())
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}

/// Splits points into small messages, unless a single point is large.
fn parts(points: &[Point]) -> Vec<Range<usize>> {
    cut(points.iter().map(|point| point.size_bytes() as usize), MESSAGE_BYTES)
}
