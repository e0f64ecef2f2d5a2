//! Looks for inputs against which the target `path` does not hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| isthmus_fuzzing::check("path", input));
