//! Simulates Isthmus with faults planted in it.

fn main() -> std::process::ExitCode {
    isthmus_sim::command::run()
}
