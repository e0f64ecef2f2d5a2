//! Tables without borders, for people.

use std::fmt::{self, Display};

use isthmus_runtime::printable;

/// Rows below a header. Each cell is one line, whatever text it is.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new<T: Display>(header: impl IntoIterator<Item = T>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.into_iter().map(printable::line));
        Self(table)
    }

    pub(crate) fn row<T: Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(printable::line));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_forges_no_row() {
        let mut table = Table::new(["region", "state"]);
        table.row(["eu-west", "live\nus-east  live\x1b[1A"]);
        let shown = table.to_string();
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains("live\\nus-east  live\\u{1b}[1A"), "{shown}");
    }
}
