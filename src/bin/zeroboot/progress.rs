//! Showing a build's progress: a bar and the guest's last line on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use zeroboot::{Progress, Step};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Picks what fits where stderr goes.
pub fn progress() -> std::sync::Arc<dyn Progress> {
    if std::io::stderr().is_terminal() {
        std::sync::Arc::new(Bar::new())
    } else {
        std::sync::Arc::new(Lines(Mutex::new(Instant::now())))
    }
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(Step::ALL.len() as u64);
        let style = "{spinner} [{elapsed}] {bar:12} {prefix}  {wide_msg:.dim}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Bar(bar)
    }
}

impl Progress for Bar {
    fn step(&self, step: Step) {
        let at = Step::ALL.iter().position(|s| *s == step).unwrap_or_default();
        self.0.set_position(at as u64);
        self.0.set_prefix(step.to_string());
        self.0.set_message("");
    }

    fn detail(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    fn console(&self, line: &str) {
        self.0.set_message(line.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Lines(Mutex<Instant>);

impl Lines {
    fn print(&self, text: &str) {
        let started = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        err!("{:7.2}s  {text}", started.elapsed().as_secs_f64());
    }
}

impl Progress for Lines {
    fn step(&self, step: Step) {
        self.print(&step.to_string());
    }

    fn detail(&self, text: &str) {
        self.print(&format!("    {text}"));
    }

    fn console(&self, line: &str) {
        self.print(&format!("    | {line}"));
    }
}
