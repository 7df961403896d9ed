//! The slow query log: requests with their plans.

use std::fmt::Write;
use std::time::{Duration, Instant};

use lanner::{Explanation, QueryRequest, QueryResponse};

/// Answers queries with `answer`, and logs them with their plan if they take longer than `limit`.
pub fn watch(
    limit: Option<Duration>,
    collection: &str,
    mut requests: Vec<QueryRequest>,
    answer: impl FnOnce(&[QueryRequest]) -> lanner::Result<Vec<QueryResponse>>,
) -> lanner::Result<Vec<QueryResponse>> {
    let Some(limit) = limit else { return answer(&requests) };
    let asked: Vec<bool> = requests.iter().map(|request| request.explain).collect();
    // The plan is only available if it was requested.
    requests.iter_mut().for_each(|request| request.explain = true);
    let started = Instant::now();
    let mut answers = answer(&requests)?;
    if started.elapsed() > limit
        && let (Some(request), Some(answer)) = (requests.first(), answers.first())
    {
        let explanations = answer.explanation.as_slice();
        log(collection, &request.field, requests.len(), started, explanations);
    }
    for (answer, asked) in answers.iter_mut().zip(asked) {
        answer.explanation = answer.explanation.take().filter(|_| asked);
    }
    Ok(answers)
}

/// Logs queries that started at `started`; for a batch, the plan of the first.
pub fn log(
    collection: &str,
    field: &str,
    queries: usize,
    started: Instant,
    explanations: &[Explanation],
) {
    let plan = plan(explanations);
    let millis = started.elapsed().as_millis() as u64;
    tracing::warn!(target: "lanner::slow_query", collection, field, queries, millis, plan, "slow query");
}

fn plan(explanations: &[Explanation]) -> String {
    let mut text = String::new();
    for stage in explanations.iter().flat_map(|explanation| &explanation.stages) {
        let separator = if text.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{separator}{} {}: {} rows, {} bytes, {} µs",
            stage.name, stage.source, stage.rows, stage.bytes, stage.micros
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanner::Stage;

    #[test]
    fn plans_are_made_and_taken_away_again() {
        let stage =
            Stage { name: "scan".into(), source: "vectors".into(), rows: 7, bytes: 28, micros: 3 };
        let explanation = Explanation { stages: vec![stage.clone(), stage] };
        let text = plan(std::slice::from_ref(&explanation));
        assert_eq!(
            text,
            "scan vectors: 7 rows, 28 bytes, 3 µs; scan vectors: 7 rows, 28 bytes, 3 µs"
        );

        let request = QueryRequest::new("v", vec![1.0]);
        let requests = vec![request.clone(), request.explain()];
        let answer = |requests: &[QueryRequest]| {
            let answer = |request: &QueryRequest| QueryResponse {
                hits: Vec::new(),
                sequence: 0,
                estimated_recall: Some(1.0),
                explanation: Some(explanation.clone()).filter(|_| request.explain),
            };
            Ok(requests.iter().map(answer).collect())
        };
        for limit in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let answers = watch(limit, "c", requests.clone(), answer).unwrap();
            let explained: Vec<bool> = answers.iter().map(|a| a.explanation.is_some()).collect();
            assert_eq!(explained, [false, true]);
        }
    }
}
