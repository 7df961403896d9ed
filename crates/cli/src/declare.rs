//! `lanner declare`.

use clap::Args;

use super::collections::payload_path;
use super::error::Result;
use super::jobs;
use super::target::Target;
use lanner::PayloadType;

/// Declare payload paths of a collection, and build their indexes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner declare docs meta.year=integer --data db
  lanner declare docs lang=keyword added=datetime --server localhost:7700
  lanner declare docs lang=keyword --server localhost:7700 --no-wait

Types: keyword, integer, float, boolean, datetime. From when a path is to be declared, points with a value
of another type there are refused. If a point has one already, nothing is declared, and the error names
it. Otherwise the path is declared for good, and segments are written anew to index it. Until that is
done, also after a restart, filters read payloads, and `facet`, `export --order-by` and `query --group-by`
are refused; `inspect` says how much is left.

Cancelling a job before the payloads are checked leaves the path undeclared; later it ends the waiting alone.")]
pub struct Declare {
    /// Collection of the paths
    collection: String,
    /// Payload paths and the type of their values
    #[arg(value_name = "PATH=TYPE", required = true, value_delimiter = ',', value_parser = payload_path)]
    paths: Vec<(String, PayloadType)>,
    #[command(flatten)]
    target: Target,
    /// Do not wait: the server goes on by itself (see `lanner jobs`)
    #[arg(long)]
    no_wait: bool,
}

impl Declare {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open_for_job(!self.no_wait)?;
        let begin = |(path, payload_type): &(String, PayloadType)| {
            backend.declare(&self.collection, path, *payload_type)
        };
        // All of them first: a segment that is written anew gets the columns of all.
        let begun = self.paths.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        begun.iter().try_for_each(|job| jobs::wait_or_name(&*backend, job, !self.no_wait))
    }
}
