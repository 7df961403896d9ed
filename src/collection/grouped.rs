//! Grouped queries.

use std::sync::Arc;

use super::Collection;
use crate::error::Result;
use crate::model::MemoryBudget;
use crate::query::{self, Deadline, GroupRequest, GroupResponse};

impl Collection {
    /// The best groups of points that share a value of a payload path, ranked by their best hits,
    /// with up to `group_size` hits each. With `exact` the response is exact.
    ///
    /// # Errors
    /// As [`Self::query`]; [`crate::Error::Invalid`] if the path is not declared, a limit is out of
    /// range, or the query has an offset or a second stage; [`crate::Error::PathPending`] if the
    /// path's index is being built.
    pub fn query_groups(&self, request: &GroupRequest) -> Result<GroupResponse> {
        self.query_groups_within(request, &Deadline::NEVER, &MemoryBudget::unlimited())
    }

    /// As [`Self::query_groups`], with a deadline and a memory budget. The memory of responses
    /// stays counted.
    ///
    /// # Errors
    /// As [`Self::query_groups`], [`crate::Error::DeadlineExceeded`], [`crate::Error::QueryCancelled`]
    /// and [`crate::Error::Exhausted`].
    pub fn query_groups_within(
        &self,
        request: &GroupRequest,
        deadline: &Deadline,
        memory: &Arc<MemoryBudget>,
    ) -> Result<GroupResponse> {
        let snapshot = self.snapshot();
        let note = |field: usize, query: &[f32]| self.0.note_query(field, query);
        let ground = self.ground(&snapshot, memory, &note);
        let answer = snapshot.whole(|_| query::group(&ground, request, deadline));
        let answer = self.0.noting_damage(answer)?;
        self.count_answers(std::iter::once(answer.estimated_recall));
        Ok(answer)
    }
}
