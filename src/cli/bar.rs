//! A bar on stderr: how far a long stage has come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::progress::{Observer, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr; invisible where stderr is no terminal.
pub struct Progress {
    bar: ProgressBar,
    /// Steps of the bar that each item of the stage is made of, where it shows them.
    parts: AtomicUsize,
}

const TEMPLATE: &str = "{prefix:>16} [{bar:30}] {pos}/{len} {elapsed} left {eta} {msg}";
/// The items themselves stand in the message.
const IN_PARTS: &str = "{prefix:>16} [{bar:30}] {percent}% {elapsed} left {eta} {msg}";

impl Progress {
    /// A bar that appears with the first [`Progress::start`].
    pub fn on_stderr() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Progress { bar, parts: AtomicUsize::new(1) }
    }

    /// Begins a stage of `total` steps.
    pub fn start(&self, total: usize, stage: impl Into<String>) {
        self.begin(total, 1, TEMPLATE, stage);
    }

    /// Begins a stage of `total` items, each of which has so many [`Progress::part`]s.
    pub fn start_parts(&self, total: usize, parts: usize, stage: impl Into<String>) {
        self.begin(total, parts, IN_PARTS, stage);
    }

    fn begin(&self, total: usize, parts: usize, template: &str, stage: impl Into<String>) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.parts.store(parts, Ordering::Relaxed);
        self.bar.reset();
        self.bar.set_length((total * parts) as u64);
        self.bar.set_prefix(stage.into());
        self.bar.set_message("");
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Says that `steps` more steps are done.
    pub fn advance(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// Begins the next part of an item, and says what it is called.
    pub fn part(&self, name: &str) {
        let parts = self.parts.load(Ordering::Relaxed) as u64;
        let (item, of) = (self.bar.position() / parts + 1, self.bar.length().unwrap_or(0) / parts);
        // An item that repeats a part goes no further than its end.
        let last = item * parts - 1;
        self.bar.set_position((self.bar.position() + 1).min(last));
        self.bar.set_message(format!("{item}/{of} {name}"));
    }

    /// Says that an item is done, whatever its parts were.
    pub fn whole(&self) {
        let parts = self.parts.load(Ordering::Relaxed) as u64;
        self.bar.set_position((self.bar.position() / parts + 1) * parts);
    }

    /// Shows a short remark behind the bar.
    pub fn remark(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line to stderr without tearing the bar.
    pub fn warn(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Runs `print`, which writes to the terminal, without tearing the bar.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Observer for &Progress {
    fn begins(&mut self, stage: Stage, steps: usize) -> anyhow::Result<()> {
        self.clear();
        if steps > 0 {
            self.start(steps, stage.to_string());
        }
        Ok(())
    }

    fn advances(&mut self, steps: usize) {
        self.advance(steps);
    }

    fn ends(&mut self) {
        self.clear();
    }

    fn remarks(&mut self, text: &str) {
        self.remark(text);
    }
}
