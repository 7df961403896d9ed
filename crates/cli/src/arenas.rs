//! How memory comes back to the system.
//!
//! glibc gives threads heaps of their own, up to eight a core, and each keeps what was freed in it for
//! what will be asked of it next: with large requests on many threads, more than what they hold at a time.

use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How many heaps there may be; see `mallopt(3)`.
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Starts this program again with one heap a core, in the same process, unless the user has set a
/// number. Without any other thread yet, and goes on as it is where that is not possible.
pub fn limit() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    again.arg0(arguments.next().unwrap_or_else(|| "lanner".into())).args(arguments);
    let error = again.env(VARIABLE, cores.max(2).to_string()).exec();
    eprintln!("cannot limit the heaps to one a core, and goes on: {error}");
}
