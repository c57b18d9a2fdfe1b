//! `cachetx completions SHELL` and `cachetx man [COMMAND…]`.

use crate::{Exit, output};
use clap::Command;
use clap_complete::Shell;

/// Print completions for a shell
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Print a manual page, in the format of man
#[derive(clap::Args)]
pub(crate) struct Man {
    /// The command whose page it is, such as `rules diff`; that of cachetx by default
    command: Vec<String>,
}

pub(crate) fn completions(arguments: &Completions, mut cachetx: Command) -> std::io::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut cachetx, "cachetx", &mut script);
    output::write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}

pub(crate) fn man(arguments: &Man, mut cachetx: Command) -> std::io::Result<Exit> {
    // Gives subcommands the full names that they are called by.
    cachetx.build();
    let mut command = &cachetx;
    for name in &arguments.command {
        let Some(found) = command.find_subcommand(name) else {
            output::complain(&format!("unknown command `{name}`; see cachetx --help"));
            return Ok(Exit::Usage);
        };
        command = found;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    output::write(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Fine)
}
