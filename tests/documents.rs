//! What the documents say of the tests is so.

mod common;

use std::fs;
use std::path::Path;

use common::root;

/// All `#[test]` functions of the library's sources and of its tests.
fn tests() -> Vec<String> {
    fn sources(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut files = Vec::new();
    sources(&root().join("tests"), &mut files);
    sources(&root().join("src"), &mut files);
    let name = |after: &str| Some(after.split_once("fn ")?.1.split_once('(')?.0.to_owned());
    files.iter().flat_map(|file| file.split("#[test]").skip(1).filter_map(name)).collect()
}

/// The tables whose last column names a test, in whatever document has one.
#[test]
fn every_test_that_a_document_names_exists() {
    let tests = tests();
    for document in fs::read_dir(root().join("docs")).unwrap() {
        let path = document.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut rows = text.lines().skip_while(|line| *line != "| what | outcome | test |");
        let Some(_) = rows.next() else { continue };
        let rows: Vec<_> = rows.skip(1).take_while(|line| line.starts_with('|')).collect();
        assert!(!rows.is_empty(), "{}: an empty table", path.display());
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [_, _, named] = cells[..] else { panic!("{}: {row}", path.display()) };
            for name in named.split(',').map(|name| name.trim().trim_matches('`')) {
                assert!(
                    tests.iter().any(|test| test == name),
                    "{}: no test {name}",
                    path.display()
                );
            }
        }
    }
}

/// What stands in the threat model's table is what there is: no attack of ours is left out.
#[test]
fn every_attack_is_in_the_threat_model() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut files: Vec<_> = fs::read_dir(root().join("tests/hostile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.push(root().join("tests/hostile.rs"));
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for after in source.split("#[test]\n").skip(1) {
            let name = after.trim_start_matches("fn ").split_once('(').unwrap().0;
            assert!(text.contains(&format!("`{name}`")), "{}: {name}", file.display());
        }
    }
}
