//! Looks for inputs against which the target `session_token` does not hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| isthmus_fuzzing::check("session_token", input));
