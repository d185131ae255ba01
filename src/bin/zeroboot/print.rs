//! Printing that outlives its reader. `println!` panics when nobody reads any more, as behind
//! `| head -1`; that is no fault of ours, and nobody is left to be told of it.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line on standard output.
macro_rules! out {
    ($($text:tt)*) => { crate::print::line(std::io::stdout(), format_args!($($text)*)) };
}

/// Prints a line on standard error.
macro_rules! err {
    ($($text:tt)*) => { crate::print::line(std::io::stderr(), format_args!($($text)*)) };
}

/// Use [`out!`] and [`err!`].
pub fn line(mut to: impl Write, text: Arguments<'_>) {
    // In one piece, so that lines of two processes do not mix.
    let _ = to.write_all(format!("{text}\n").as_bytes());
}
