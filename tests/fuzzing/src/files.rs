//! Decoders of files: settings, histories, rows to load.

use std::io::Write;

use isthmus_cli::history::{record, verdict};
use isthmus_cli::rows::{Format, Rows};
use isthmus_runtime::settings::{
    AgentSettings, Document, Environment, GatewaySettings, SetSettings, Settings, SettingsError,
};
use tempfile::TempDir;

const SET: &str = include_str!("../../../configs/minimal/set.yaml");

pub(crate) fn set_file(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match SetSettings::from_document(Document::from_text("set.yaml", text)) {
        Ok(set) => {
            for region in set.regions.keys() {
                let _ = (set.shards_for(region), set.max_value(region));
            }
        }
        Err(error) => says_why(&error),
    }
}

pub(crate) fn agent_file(input: &[u8]) {
    process_file::<AgentSettings>(input);
}

pub(crate) fn gateway_file(input: &[u8]) {
    process_file::<GatewaySettings>(input);
}

/// A process's settings beside a valid set.yaml. Only that file is read, never a path from the
/// input.
fn process_file<S: Settings>(input: &[u8]) {
    if !input.starts_with(b"set: set.yaml\n") {
        return;
    }
    let folder = folder_of(&[("set.yaml", SET.as_bytes()), ("process.yaml", input)]);
    match S::load(&folder.path().join("process.yaml"), &Environment::empty()) {
        Ok(settings) => assert!(!settings.listeners().is_empty()),
        Err(error) => says_why(&error),
    }
}

fn says_why(error: &SettingsError) {
    assert!(!error.to_string().is_empty());
}

fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, bytes) in files {
        let mut file = std::fs::File::create(folder.path().join(name)).expect("a temporary file");
        file.write_all(bytes).expect("a temporary file");
    }
    folder
}

pub(crate) fn history(input: &[u8]) {
    if let Ok(history) = record::read(input) {
        let lines: Vec<String> = history
            .iter()
            .map(|entry| serde_json::to_string(entry).expect("plain fields"))
            .collect();
        assert_eq!(
            record::read(lines.join("\n").as_bytes()).expect("its own lines"),
            history
        );
        let judged = verdict::judge(&history);
        assert!(judged.acknowledged + judged.failed + judged.unknown <= history.len());
    }
}

/// A choice, then the file. The last bit of the choice is the format, the next one whether the
/// key's column is named.
pub(crate) fn rows(input: &[u8]) {
    let Some((choice, file)) = input.split_first() else {
        return;
    };
    let format = if choice & 1 == 0 {
        Format::Csv
    } else {
        Format::Ndjson
    };
    let folder = folder_of(&[("rows", file)]);
    match Rows::read(
        &folder.path().join("rows"),
        Some(format),
        (choice & 2 != 0).then_some("id"),
    ) {
        Ok(rows) => {
            let mut keys: Vec<_> = rows.rows.iter().map(|row| &row.key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), rows.rows.len(), "a key has two rows");
            for row in &rows.rows {
                serde_json::from_str::<serde_json::Value>(&row.value).expect("a row is JSON");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
