//! Progress of long work: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for `total` items, with rate and time to go.
pub fn bar(what: &'static str, total: u64) -> ProgressBar {
    styled(what, total, "{msg} {bar:30} {human_pos}/{human_len}  {per_sec}  {eta} to go")
}

/// A count of items of which nobody knows how many will come.
pub fn count(what: &'static str) -> ProgressBar {
    styled(what, 0, "{msg} {human_pos}  {per_sec}  {elapsed}")
}

fn styled(what: &'static str, total: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total).with_message(what);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar for steps of which nothing is known yet: with a message, and a length once there is one.
pub fn steps() -> ProgressBar {
    let bar = styled("", 0, "{msg} {bar:30} {percent}%  {eta} to go");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// A sign of life for work whose length is not known.
pub fn spinner(what: String) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}
