//! `manifest.json`.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use zeroboot::internals::parse_manifest;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = parse_manifest(Path::new("manifest.json"), data) {
        let written = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(parse_manifest(Path::new("manifest.json"), &written).unwrap(), manifest);
    }
});
