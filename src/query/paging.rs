//! Pages that never repeat a hit.
//!
//! A search for more hits uses a wider window and may find a hit that ranks above those of an
//! earlier page: everything after it shifts, and the last hit of that page is repeated. So a later
//! page is cut from blocks of hits that double in length: the first holds one page, and each
//! further block the best hits of a wider search that are in no earlier block. The blocks depend
//! only on the page length, so all pages of one length belong to one ranking.

use std::collections::HashSet;

use super::request::{Query, QueryRequest, QueryResponse};
use crate::model::PointId;

/// Whether a request is for a later page and its hits depend on the search depth.
pub fn is_paged(request: &QueryRequest) -> bool {
    // A second stage ranks the same candidates on every page.
    let is_text = matches!(request.query, Query::Text(_));
    request.offset > 0 && !request.params.exact && request.rescore.is_none() && !is_text
}

/// The requests whose responses form the blocks of a later page; `None` if the request needs no
/// blocks.
pub fn blocks(request: &QueryRequest) -> Option<Vec<QueryRequest>> {
    if !is_paged(request) {
        return None;
    }
    let end = request.offset.saturating_add(request.limit);
    let lengths = std::iter::successors(Some(request.limit), |length| length.checked_mul(2));
    let mut blocks = Vec::new();
    for length in lengths {
        blocks.push(QueryRequest { offset: 0, limit: length.min(most(end)), ..request.clone() });
        if length >= end {
            break;
        }
    }
    Some(blocks)
}

/// The last block may be longer than any response.
fn most(end: usize) -> usize {
    end.max(crate::model::limits::MAX_QUERY_LIMIT)
}

/// Assembles a page from the responses to its blocks, in order.
pub fn page(request: &QueryRequest, answers: Vec<QueryResponse>) -> Option<QueryResponse> {
    let mut seen: HashSet<PointId> = HashSet::new();
    let mut ranking = Vec::new();
    let mut last = None;
    for mut answer in answers {
        let hits = std::mem::take(&mut answer.hits);
        let block = hits.len();
        let new = hits.into_iter().filter(|hit| !seen.contains(&hit.point.id));
        let room = block.saturating_sub(ranking.len());
        let new: Vec<_> = new.take(room).collect();
        seen.extend(new.iter().map(|hit| hit.point.id.clone()));
        ranking.extend(new);
        last = Some(answer);
    }
    let hits = ranking.into_iter().skip(request.offset).take(request.limit).collect();
    last.map(|answer| QueryResponse { hits, ..answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Point;
    use crate::query::Hit;

    fn request(offset: usize, limit: usize) -> QueryRequest {
        QueryRequest::new("v", vec![1.0]).offset(offset).limit(limit)
    }

    fn answer(ids: &[u64]) -> QueryResponse {
        let hit = |&id: &u64| Hit::new(Point::new(id), 0.0);
        let hits = ids.iter().map(hit).collect();
        QueryResponse { hits, sequence: 1, estimated_recall: Some(0.9), explanation: None }
    }

    #[test]
    fn blocks_double_until_they_hold_the_page() {
        let lengths = |offset, limit| {
            let blocks = blocks(&request(offset, limit)).unwrap();
            assert!(blocks.iter().all(|block| block.offset == 0));
            blocks.iter().map(|block| block.limit).collect::<Vec<_>>()
        };
        assert_eq!(lengths(10, 10), [10, 20]);
        assert_eq!(lengths(20, 10), [10, 20, 40]);
        assert_eq!(lengths(5, 10), [10, 20]);
        assert_eq!(lengths(9_000, 1_000), [1_000, 2_000, 4_000, 8_000, 10_000]);
        assert_eq!(blocks(&request(0, 10)), None);
        assert_eq!(blocks(&request(10, 10).exact()), None);
    }

    #[test]
    fn a_hit_that_is_found_late_comes_after_those_that_were_shown() {
        let (narrow, wide) = ([1, 3], [1, 2, 3, 4]);
        let ids = |offset: usize, answers: &[&[u64]]| -> Vec<u64> {
            let answers = answers.iter().map(|ids| answer(ids)).collect();
            let page = page(&request(offset, 2), answers).unwrap();
            page.hits.iter().map(|hit| hit.point.id.to_string().parse().unwrap()).collect()
        };
        assert_eq!(ids(2, &[&narrow, &wide]), [2, 4]);
        assert_eq!(ids(4, &[&narrow, &wide, &[1, 2, 3, 4, 5, 6]]), [5, 6]);
        assert_eq!(ids(4, &[&narrow, &wide, &wide]), Vec::<u64>::new());
    }
}
