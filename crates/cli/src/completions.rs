//! `lanner completions`: completions for shells, and the manual page.

use std::io::Write;

use clap::{Args, CommandFactory, ValueEnum};

use super::Arguments;
use super::error::{CliError, Result};

/// Print completions for a shell, or a manual page.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner completions bash > ~/.local/share/bash-completion/completions/lanner
  lanner completions man | man -l -")]
pub struct Completions {
    /// For what
    #[arg(value_enum)]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Bash,
    Elvish,
    Fish,
    Man,
    Powershell,
    Zsh,
}

impl Completions {
    pub fn run(self) -> Result<()> {
        let mut out = Vec::new();
        let shell = match self.what {
            What::Bash => clap_complete::Shell::Bash,
            What::Elvish => clap_complete::Shell::Elvish,
            What::Fish => clap_complete::Shell::Fish,
            What::Powershell => clap_complete::Shell::PowerShell,
            What::Zsh => clap_complete::Shell::Zsh,
            What::Man => {
                let page = clap_mangen::Man::new(Arguments::command());
                page.render(&mut out).map_err(|source| CliError::Output { source })?;
                return print(&out);
            }
        };
        clap_complete::generate(shell, &mut Arguments::command(), "lanner", &mut out);
        print(&out)
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    let written = std::io::stdout().lock().write_all(bytes);
    written.map_err(|source| CliError::Output { source })
}
