//! Request counts, errors and latencies by method.

use std::array;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tonic::Code;

use super::door::METHODS;

/// Upper bounds of the latency buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 300.0];
/// Number of gRPC codes.
const CODES: usize = 17;

/// Counters of each method.
#[derive(Debug)]
pub struct Traffic([MethodTraffic; METHODS.len()]);

#[derive(Debug)]
struct MethodTraffic {
    /// Number of requests by code.
    codes: [AtomicU64; CODES],
    /// Latency buckets by upper bound, and one above all bounds.
    latencies: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self(array::from_fn(|_| MethodTraffic {
            codes: array::from_fn(|_| AtomicU64::new(0)),
            latencies: array::from_fn(|_| AtomicU64::new(0)),
            micros: AtomicU64::new(0),
        }))
    }
}

/// A request in progress. Dropped without [`Self::finish`], it counts as cancelled.
#[derive(Debug)]
pub struct Measured<'t> {
    method: &'t MethodTraffic,
    started: Instant,
    code: Code,
}

impl Measured<'_> {
    /// Counts the request with this outcome.
    pub fn finish(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs_f64();
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        let micros = elapsed.as_micros().try_into().unwrap_or(u64::MAX);
        // Relaxed: each counter is independent.
        self.method.latencies[bucket].fetch_add(1, Ordering::Relaxed);
        self.method.micros.fetch_add(micros, Ordering::Relaxed);
        self.method.codes[self.code as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Starts a request for the method at this index of [`METHODS`].
    pub fn start(&self, method: usize) -> Measured<'_> {
        let method = &self.0[method];
        Measured { method, started: Instant::now(), code: Code::Cancelled }
    }

    /// Writes the methods that were called, in Prometheus format.
    pub fn write(&self, text: &mut String) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let called = || {
            let called = METHODS.iter().zip(&self.0);
            called.filter(|(_, traffic)| traffic.codes.iter().any(|code| read(code) > 0))
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP lanner_requests_total Requests by method and gRPC code; 0 is success.\n\
             # TYPE lanner_requests_total counter"
        );
        for (method, traffic) in called() {
            for (code, count) in traffic.codes.iter().enumerate().filter(|(_, n)| read(n) > 0) {
                let (path, count) = (method.path, read(count));
                let _ = writeln!(
                    text,
                    "lanner_requests_total{{method=\"{path}\",code=\"{code}\"}} {count}"
                );
            }
        }
        let _ = writeln!(
            text,
            "# HELP lanner_request_seconds Time to the head of the answer, by method.\n\
             # TYPE lanner_request_seconds histogram"
        );
        for (method, traffic) in called() {
            let path = method.path;
            let mut sum = 0;
            let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(&traffic.latencies) {
                sum += read(count);
                let _ = writeln!(
                    text,
                    "lanner_request_seconds_bucket{{method=\"{path}\",le=\"{bound}\"}} {sum}"
                );
            }
            let seconds = read(&traffic.micros) as f64 / 1e6;
            let _ = writeln!(
                text,
                "lanner_request_seconds_sum{{method=\"{path}\"}} {seconds}\n\
                 lanner_request_seconds_count{{method=\"{path}\"}} {sum}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_outcome() {
        let traffic = Traffic::default();
        traffic.start(0).finish(Code::Ok);
        traffic.start(0).finish(Code::Unauthenticated);
        drop(traffic.start(1));
        let mut text = String::new();
        traffic.write(&mut text);
        let (first, second) = (METHODS[0].path, METHODS[1].path);
        for line in [
            format!("lanner_requests_total{{method=\"{first}\",code=\"0\"}} 1"),
            format!("lanner_requests_total{{method=\"{first}\",code=\"16\"}} 1"),
            format!("lanner_requests_total{{method=\"{second}\",code=\"1\"}} 1"),
            format!("lanner_request_seconds_bucket{{method=\"{first}\",le=\"300\"}} 2"),
            format!("lanner_request_seconds_bucket{{method=\"{first}\",le=\"+Inf\"}} 2"),
            format!("lanner_request_seconds_count{{method=\"{first}\"}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains(METHODS[2].path));
    }
}
