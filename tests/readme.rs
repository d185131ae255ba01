//! What the README shows is what the repository has.

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
