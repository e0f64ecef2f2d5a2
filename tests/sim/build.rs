//! Exports the simulator's own `getrandom`, so that it is found when it is looked up at run time.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo::rerun-if-changed=build.rs");
}
