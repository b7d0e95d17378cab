//! Ctrl-C, and the SIGTERM of Slurm, Docker and systemd: the first ends a run after the scan at hand, the second at
//! once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What shells call the end by Ctrl-C.
pub const EXIT_CODE: u8 = 130;

/// Whether somebody pressed Ctrl-C.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Where that cannot be, the signals end the program as usual.
    pub fn listen() -> Interrupt {
        let came = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&came);
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(EXIT_CODE.into());
            }
            eprintln!("finishing this scan; press Ctrl-C again to stop at once");
        });
        Interrupt(came)
    }

    /// Whether it came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The error of a run that was ended by Ctrl-C.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}
