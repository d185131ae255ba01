//! The tables of docs/faults.md name tests that exist, and all of them.

use std::collections::BTreeSet;
use std::fs;

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The tests of a file: functions under `#[test]`, and names alone on a line, as in a list of cases.
fn tests(file: &str) -> BTreeSet<String> {
    let source = read(&format!("tests/{file}.rs"));
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let functions = lines
        .windows(2)
        .filter(|pair| pair[0] == "#[test]")
        .filter_map(|pair| Some(pair[1].strip_prefix("fn ")?.split('(').next()?.to_owned()));
    let is_name = |line: &&&str| {
        line.contains('_') && line.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // A macro's function has its name from a list.
    let functions = functions.filter(|name| !name.starts_with('$'));
    functions.chain(lines.iter().filter(is_name).map(|line| (*line).to_owned())).collect()
}

/// What the tables name, as pairs of a file and a test.
fn named() -> BTreeSet<(String, String)> {
    let table = read("docs/faults.md");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let named = rows.flat_map(|row| row.split('`').filter_map(|word| word.split_once("::")));
    named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

#[test]
fn each_row_names_tests_that_exist() {
    let table = read("docs/faults.md");
    let rows =
        table.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |"));
    assert!(rows.clone().count() > 20);
    for row in rows {
        assert!(row.contains("::"), "no test: {row}");
    }
    for (file, test) in named() {
        assert!(tests(&file).contains(&test), "tests/{file}.rs has no {test}");
    }
}

#[test]
fn each_test_of_a_fault_or_a_bound_has_a_row() {
    let named = named();
    for file in ["faults", "memory", "soak"] {
        for test in tests(file) {
            let of_the_tests_themselves = test == "every_case_of_the_driver_is_run";
            assert!(
                of_the_tests_themselves || named.contains(&(file.into(), test.clone())),
                "docs/faults.md does not have {file}::{test}"
            );
        }
    }
}
