//! Has the linker write addresses as short as they are: by default it leaves room, which is a tenth of a small module.

fn main() {
    let strip = "CARGO_PROFILE_GUEST_STRIP";
    println!("cargo::rerun-if-env-changed={strip}");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // Linkers refuse that for modules with names and debugging information, so only where the profile strips them.
    if is("CARGO_CFG_TARGET_ARCH", "wasm32") && is("OPT_LEVEL", "z") && std::env::var_os(strip).is_none() {
        println!("cargo::rustc-link-arg-cdylib=--compress-relocations");
    }
}
