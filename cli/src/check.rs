//! isthmus-check
fn main() {}
