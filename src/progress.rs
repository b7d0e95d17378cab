//! How far a long stage has come.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr; invisible where stderr is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar that appears with the first [`Progress::start`].
    pub fn on_stderr() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{prefix:>16} [{bar:30}] {pos}/{len} {elapsed} left {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress(bar)
    }

    /// Reports to nobody.
    pub fn silent() -> Self {
        Progress(ProgressBar::hidden())
    }

    /// Begins a stage of `total` steps.
    pub fn start(&self, total: usize, stage: impl Into<String>) {
        self.0.reset();
        self.0.set_length(total as u64);
        self.0.set_prefix(stage.into());
        self.0.set_message("");
        self.0.enable_steady_tick(Duration::from_millis(200));
    }

    /// Says that `steps` more steps are done.
    pub fn advance(&self, steps: usize) {
        self.0.inc(steps as u64);
    }

    /// Shows a short remark behind the bar.
    pub fn remark(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// Writes a line to stderr without tearing the bar.
    pub fn warn(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Runs `print`, which writes to the terminal, without tearing the bar.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}
