//! The program `lanner`; see `lanner --help`.

fn main() -> std::process::ExitCode {
    lanner::cli::run()
}
