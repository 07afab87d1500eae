//! Where output goes: data to standard output, messages to standard error, a bar on a terminal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::commands::{Failure, Outcome};

/// Set by Ctrl-C.
pub(crate) static CANCELLED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C ask for an orderly end; a second one ends at once.
pub(crate) fn catch_interrupts() {
    // A handler that cannot be set leaves the default, which ends the process and may leave a hidden folder.
    let _ = ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            #[expect(clippy::exit, reason = "the user has asked twice")]
            std::process::exit(130);
        }
    });
}

/// Columns of the terminal; unlimited where standard output is none.
pub(crate) fn width() -> usize {
    if std::io::stdout().is_terminal() {
        terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
    } else {
        usize::MAX
    }
}

/// A bar of bytes on standard error, where that is a terminal.
pub(crate) fn byte_bar(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let style = "{msg} [{bar:32}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template").progress_chars("━╸ "));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar of a share, in thousandths, on standard error, where that is a terminal.
pub(crate) fn share_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(10));
    let style = "{msg} [{bar:32}] {percent} % {elapsed}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template").progress_chars("━╸ "));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar of steps on standard error, where that is a terminal.
pub(crate) fn step_bar(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let style = "[{bar:32}] {pos}/{len} steps {per_sec} {eta} {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template").progress_chars("━╸ "));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A sign of life on standard error, where that is a terminal.
pub(crate) fn spinner(what: String) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"));
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// Prints what a command has to say and tells the exit code.
pub(crate) fn finish(outcome: &Outcome) -> ExitCode {
    let written =
        anstream::stdout().write_all(outcome.text.as_bytes()).and_then(|()| anstream::stdout().flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&Failure::Output(error.to_string()))
        }
        _ => ExitCode::from(u8::from(!outcome.holds)),
    }
}

/// Says on standard error what one should know of what goes on all the same.
pub(crate) fn warn(text: &str) {
    const WARNING: Style = AnsiColor::Yellow.on_default().bold();
    // There is nowhere left to say that standard error cannot be written.
    let _ = writeln!(anstream::stderr(), "{WARNING}warning:{WARNING:#} {text}");
}

/// Prints an error and tells the exit code.
pub(crate) fn fail(failure: &Failure) -> ExitCode {
    const ERROR: Style = AnsiColor::Red.on_default().bold();
    const HINT: Style = AnsiColor::Cyan.on_default().bold();
    let text = failure.to_string();
    let mut lines = text.lines();
    let mut out = format!("{ERROR}error:{ERROR:#} {}\n", lines.next().unwrap_or_default());
    for line in lines {
        out += &match line.strip_prefix("hint: ") {
            Some(hint) => format!(" {HINT}hint:{HINT:#} {hint}\n"),
            None => format!("{line}\n"),
        };
    }
    // There is nowhere left to say that standard error cannot be written.
    let _ = anstream::stderr().write_all(out.as_bytes());
    if CANCELLED.load(Ordering::SeqCst) { ExitCode::from(130) } else { ExitCode::from(2) }
}
