//! The direction of the arrows between the library's layers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A layer may use those before it. Layers of one row do not know each other.
const LAYERS: &[&[&str]] = &[
    &["sys"],
    &["kvm"],
    &["device"],
    &["machine"],
    &["snapshot", "agent"],
    &["fork", "boot"],
    &["ffi"],
];

fn row(layer: &str) -> usize {
    LAYERS.iter().position(|row| row.contains(&layer)).unwrap_or_else(|| panic!("layer {layer}?"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The layers that a source file names by `crate::layer` or in `use crate::{a, b::c}`.
fn used(source: &str) -> BTreeSet<String> {
    let mut layers = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => top_level(&list[..closing(list)]),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            layers.insert(name[..end].to_owned());
        }
    }
    layers
}

fn closing(list: &str) -> usize {
    let mut depth = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    list.len()
}

fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn a_layer_uses_only_the_layers_below_it() {
    let mut arrows = 0;
    for layer in LAYERS.iter().flat_map(|row| row.iter()) {
        for file in sources(&src().join(layer)) {
            for used in used(&fs::read_to_string(&file).unwrap()) {
                let allowed = used == *layer || row(&used) < row(layer);
                assert!(allowed, "{}: {layer} must not use {used}", file.display());
                arrows += 1;
            }
        }
    }
    assert!(arrows > 30, "only {arrows} uses found: does this test still see them?");
}

#[test]
fn every_module_is_a_layer() {
    for entry in fs::read_dir(src()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "bin" {
            row(name);
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_belongs() {
    for layer in ["device", "machine", "snapshot", "agent", "fork", "boot", "bin"] {
        for file in sources(&src().join(layer)) {
            let source = fs::read_to_string(&file).unwrap();
            assert!(!source.contains("unsafe {"), "{}", file.display());
            assert!(!source.contains("allow(unsafe_code)"), "{}", file.display());
        }
    }
}

#[test]
fn this_test_sees_grouped_imports() {
    let found = used("use crate::{kvm::{A, B}, sys};\nlet x = crate::fork::f();");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["fork", "kvm", "sys"]);
}
