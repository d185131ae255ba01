//! What the README shows is what the repository has.

#[path = "../src/bin/zeroboot/measure/mod.rs"]
mod measure;

use measure::{document, results::Results};

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_c_program_in_the_readme_is_the_example() {
    let readme = read("README.md");
    let shown = readme.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(shown, read("examples/hello.c"));
}

#[test]
fn the_example_is_short() {
    assert!(read("examples/hello.c").lines().count() <= 40);
}

#[test]
fn the_readmes_make_targets_exist() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let mut seen = 0;
    for (_, rest) in readme.match_indices("make ").map(|(at, m)| readme.split_at(at + m.len())) {
        let target: String = rest.chars().take_while(|c| c.is_ascii_lowercase()).collect();
        if ["run", "test", "bench", "guest"].contains(&target.as_str()) {
            assert!(makefile.contains(&format!("\n{target}:")), "{target}");
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

fn committed_results() -> Results {
    serde_json::from_str(&read("docs/benchmark/results.json")).unwrap()
}

#[test]
fn the_readmes_figures_are_the_committed_measurements() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once(document::BEGIN).expect("the mark where the figures begin");
    let (shown, _) = rest.split_once(document::END).expect("the mark where they end");
    assert_eq!(shown, document::readme(&committed_results()), "`make bench-report` writes it");
}

#[test]
fn the_committed_report_is_that_of_the_committed_measurements() {
    assert_eq!(read("docs/benchmark/report.md"), document::report(&committed_results()));
}

#[test]
fn every_picture_that_is_shown_is_there() {
    let mut shown = 0;
    for (page, dir) in [("README.md", ""), ("docs/benchmark/report.md", "docs/benchmark/")] {
        for link in read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.ends_with(".svg") {
                assert!(read(&format!("{dir}{link}")).starts_with("<svg "), "{page}: {link}");
                shown += 1;
            }
        }
    }
    assert!(shown > document::pictures(&committed_results()).len(), "{shown} pictures");
}
