//! The last lines that a process wrote to its log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const LOOKED_AT: u64 = 4096;

/// The length of a log, in bytes; 0 if there is none.
pub(super) fn length(log: &Path) -> u64 {
    log.metadata().map_or(0, |file| file.len())
}

/// The last line of the log that is not indented, with the indented lines after it. Only the part
/// from byte `from` on is read, and at most its last `LOOKED_AT` bytes.
pub(super) fn since(log: &Path, from: u64) -> Option<String> {
    let text = end(log, from).ok()?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.iter().rposition(|line| !line.starts_with([' ', '\t']));
    let words = lines[start.unwrap_or(0)..].join("\n");
    (!words.is_empty()).then(|| words.trim().to_owned())
}

fn end(log: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    let start = from.max(file.metadata()?.len().saturating_sub(LOOKED_AT));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_this_runs_last_line_with_its_indented_block() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("agent-1.log");
        assert_eq!((length(&log), since(&log, 0)), (0, None));
        let first = "INFO starts\na.yaml:8: drian is unknown\n  8 | drian: 10s\n  fix: write drain\n\n";
        std::fs::write(&log, first)?;
        assert_eq!(
            since(&log, 0).as_deref(),
            Some("a.yaml:8: drian is unknown\n  8 | drian: 10s\n  fix: write drain")
        );
        assert_eq!(since(&log, length(&log)), None);
        std::fs::write(&log, format!("{first}{}INFO starts\n", " ".repeat(9000)))?;
        assert_eq!(since(&log, 0).as_deref(), Some("INFO starts"));
        Ok(())
    }
}
