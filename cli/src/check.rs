//! `isthmus-check`

fn main() {}
