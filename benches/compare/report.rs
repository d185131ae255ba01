//! The report: files in a directory, and the README's part of it.

use std::fs;
use std::path::Path;

use crate::measure::document;
use crate::measure::results::Results;
use crate::measure::way::Result;
use crate::plot;

/// Writes the pictures, the tables and the figures.
pub fn write(results: &Results, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    plot::all(results, dir)?;
    fs::write(dir.join("report.md"), document::report(results))?;
    let json = serde_json::to_string(results)?;
    fs::write(dir.join("results.json"), json + "\n")?;
    Ok(())
}

/// Puts the tables between the marks of a README.
pub fn update_readme(results: &Results, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let missing = || format!("{} lacks a mark of the benchmark's part", path.display());
    let (before, rest) = text.split_once(document::BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(document::END).ok_or_else(missing)?;
    let part = document::readme(results);
    let text = [before, document::BEGIN, &part, document::END, after].concat();
    Ok(fs::write(path, text)?)
}
