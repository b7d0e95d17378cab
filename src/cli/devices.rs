//! `devices`: the processor and the cards that networks can be computed on.

use super::stdout::say;
use anyhow::Result;
use clap::Args;

use crate::device::devices;

#[derive(Args)]
pub struct Devices {}

impl Devices {
    pub fn run(self) -> Result<()> {
        for found in devices() {
            let state = if found.usable { "usable" } else { "not usable" };
            say!("{:<7} {state:<10}  {}", found.device.to_string(), found.description);
        }
        Ok(())
    }
}
