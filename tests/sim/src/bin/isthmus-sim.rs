//! Simulates Isthmus.

fn main() -> std::process::ExitCode {
    isthmus_sim::command::run()
}
