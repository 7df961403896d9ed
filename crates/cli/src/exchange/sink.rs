//! What an export writes to.

use crate::error::Result;
use lanner::Point;

/// Takes points page by page.
pub trait Sink {
    /// Appends points.
    fn write(&mut self, points: Vec<Point>) -> Result<()>;

    /// Ends the file and gives it its name. Returns the number of points in it.
    fn finish(self: Box<Self>) -> Result<u64>;
}
