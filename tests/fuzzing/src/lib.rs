//! The fuzzed functions: for every decoder of bytes or text from outside or from storage, one
//! function that checks what must hold for any input.
//!
//! The fuzzers (fuzz/, cargo-fuzz) search for inputs that make a function fail, and
//! `tests/corpus.rs` replays the inputs that they kept. Both go through [`check`], which also
//! checks a memory bound for each function.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod door;
mod files;
mod lease;
mod link;
mod log;
mod text;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the fuzzer's program and of its corpus.
    pub name: &'static str,
    run: fn(&[u8]),
    base_bytes: usize,
}

impl Target {
    const fn new(name: &'static str, run: fn(&[u8])) -> Self {
        Self {
            name,
            run,
            base_bytes: BASE_BYTES,
        }
    }

    const fn with_base_bytes(mut self, base_bytes: usize) -> Self {
        self.base_bytes = base_bytes;
        self
    }
}

/// Bytes that a target may allocate for any input, including those that it frees again.
const BASE_BYTES: usize = 256 * 1024;
/// Bytes that a target may allocate for each byte of its input.
const GROWTH: usize = 192;

/// A session receives a frame repeatedly, up to twice what its queues hold; a fold is encoded after
/// each message.
const REPEATED_BYTES: usize = 64 * 1024 * 1024;

/// A reader of files has buffers, and messages with excerpts.
const FILE_BYTES: usize = 8 * 1024 * 1024;

/// Every target.
pub const TARGETS: &[Target] = &[
    Target::new("header", log::header),
    Target::new("body", log::body),
    Target::new("mark", log::mark),
    Target::new("fold", log::fold).with_base_bytes(REPEATED_BYTES),
    Target::new("cell", log::cell),
    Target::new("peer", log::peer),
    Target::new("frame", link::frame),
    Target::new("session", link::session).with_base_bytes(REPEATED_BYTES),
    Target::new("lane", link::lane),
    Target::new("landmarks", link::landmarks),
    Target::new("session_token", text::session_token),
    Target::new("version", text::version),
    Target::new("traceparent", text::traceparent),
    Target::new("names", text::names),
    Target::new("batch_line", door::batch_line),
    Target::new("query", door::query),
    Target::new("path", door::path),
    Target::new("lease", lease::lease),
    Target::new("member", lease::member),
    Target::new("set_file", files::set_file).with_base_bytes(FILE_BYTES),
    Target::new("agent_file", files::agent_file).with_base_bytes(FILE_BYTES),
    Target::new("gateway_file", files::gateway_file).with_base_bytes(FILE_BYTES),
    Target::new("history", files::history).with_base_bytes(FILE_BYTES),
    Target::new("rows", files::rows).with_base_bytes(FILE_BYTES),
];

/// Runs the target `name` on `input`.
///
/// # Panics
/// When a check of the target fails, it allocates beyond its bound, or it does not exist.
pub fn check(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no target {name}"));
    let region = Region::new(ALLOCATOR);
    (target.run)(input);
    let allocated = region.change().bytes_allocated;
    let most = target.base_bytes + GROWTH * input.len();
    assert!(
        allocated <= most,
        "{name} allocated {allocated} bytes for {} of input where {most} are allowed",
        input.len()
    );
}
