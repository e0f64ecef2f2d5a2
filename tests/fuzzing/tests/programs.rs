//! Every target has its program and its corpus, and there are no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use isthmus_fuzzing::TARGETS;

fn fuzz() -> PathBuf {
    // The path at run time: several checkouts may share one build folder.
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("run by cargo");
    Path::new(&package).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| name(entry.expect("readable"))).collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_nothing_else_has() {
    let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), known);
    let programs = names(&fuzz().join("fuzz_targets"));
    let programs = programs
        .iter()
        .filter_map(|file| file.strip_suffix(".rs"))
        .map(str::to_owned);
    assert_eq!(programs.collect::<BTreeSet<_>>(), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("readable");
    for name in known {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not built"
        );
    }
}
