//! Replays every kept input of the fuzzers through the functions that they fuzz.

use std::fs;
use std::path::{Path, PathBuf};

use isthmus_fuzzing::{TARGETS, check};

fn inputs(target: &str) -> Vec<PathBuf> {
    // The path at run time: several checkouts may share one build folder.
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("run by cargo");
    let folder = Path::new(&package).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("readable").path()).collect()
}

#[test]
fn every_kept_input_holds() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no input", target.name);
        for input in inputs {
            println!("{}", input.display());
            check(target.name, &fs::read(&input).expect("readable"));
        }
    }
}
