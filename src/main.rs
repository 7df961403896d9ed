//! The program `lanner`; see `lanner --help`.

/// A query makes some dozens of small allocations; the system's allocator takes a twentieth of the
/// query's time for them. Who embeds the library chooses their own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    lanner::cli::run()
}
