//! Threads that let others go first.

/// Makes the calling thread so much nicer than others, where that can be set: under load it gets less
/// of a core than they do.
pub(crate) fn give_way(_nice: i32) {
    // Linux sets it for the calling thread alone. What cannot be set is no reason not to work.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, _nice) {
        tracing::debug!(%error, "a thread does not give way");
    }
}
