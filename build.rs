//! Makes the C header of `src/ffi`, section by section, into `OUT_DIR/zeroboot.h`.
//!
//! The header that people use, `include/zeroboot.h`, is in the repository; `tests/c_api.rs` fails
//! when the two differ, and `make header` copies this one over that one.

use std::path::Path;
use std::{env, error::Error, fs};

/// The sections, in an order in which each needs only types of those before it.
const SECTIONS: &[&str] = &[
    "version", "status", "error", "log", "host", "snapshot", "sandbox", "instance", "cancel",
    "result", "run",
];

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "cbindgen.toml", "src/ffi"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let ffi = Path::new("src/ffi");
    let mut header = fs::read_to_string(ffi.join("preamble.h"))?;
    for name in SECTIONS {
        header += &section(&ffi.join(name).with_extension("rs"))?;
    }
    header += "\n#ifdef __cplusplus\n}\n#endif\n\n#endif /* ZEROBOOT_H */\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("zeroboot.h"), header)?;
    Ok(())
}

/// The declarations of one file, under its title.
fn section(path: &Path) -> Result<String, Box<dyn Error>> {
    let config = cbindgen::Config::from_file("cbindgen.toml")?;
    let mut declarations = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(path)
        .generate()?
        .write(&mut declarations);
    // Every type has its name as a typedef; "struct" in each use is noise.
    let declarations = String::from_utf8(declarations)?
        .replace("struct zb_", "zb_")
        .replace("typedef zb_", "typedef struct zb_");
    Ok(format!("\n{}\n{}\n", title(&fs::read_to_string(path)?), declarations.trim()))
}

/// The file's own comment.
fn title(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text: Vec<_> = lines.map(|line| format!(" *{line}\n")).collect();
    format!("/* {}\n{} */\n", "-".repeat(94), text.concat())
}
