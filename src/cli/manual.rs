//! `completions` and `man`: what a shell and a reader of manuals want to know of this program.

use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

#[derive(Args)]
pub struct Completions {
    /// Shell to complete commands in
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "vertebrae", &mut script);
        Ok(io::stdout().write_all(&script)?)
    }
}

#[derive(Args)]
pub struct Man {
    /// Subcommand to print the page of [default: the program's own]
    command: Option<String>,
}

impl Man {
    pub fn run(self) -> Result<()> {
        let mut program = Cli::command();
        program.build();
        let command = match &self.command {
            None => program,
            Some(name) => match program.find_subcommand(name) {
                Some(command) => command.clone(),
                None => bail!("there is no subcommand '{name}'; vertebrae help lists them"),
            },
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        Ok(io::stdout().write_all(&page)?)
    }
}
