//! Where the programs and modules are that suites run: told by the environment, or found in the checkout.

use std::path::{Path, PathBuf};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// A program of this workspace, as `leno-proxy`.
///
/// # Panics
/// It has not been built.
pub fn program(name: &str) -> PathBuf {
    let folder = told("LENO_TEST_BIN").unwrap_or_else(|| target_folder().join("debug"));
    there(folder.join(name), "cargo build --workspace --bins")
}

/// The real Envoy.
///
/// # Panics
/// It has not been installed.
pub fn envoy() -> PathBuf {
    let path = told("LENO_TEST_ENVOY").unwrap_or_else(|| {
        let libraries = root().join(".venv/lib");
        let versions = std::fs::read_dir(&libraries)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let found = versions
            .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
            .find(|path| path.is_file());
        found.unwrap_or_else(|| libraries.join("python3/site-packages/envoy/_bin/envoy"))
    });
    there(path, "cargo xtask install")
}

/// A Python with `grpcio`.
///
/// # Panics
/// It has not been installed.
pub fn python() -> PathBuf {
    there(
        told("LENO_TEST_PYTHON").unwrap_or_else(|| root().join(".venv/bin/python")),
        "cargo xtask install",
    )
}

/// A program of the system, as `nginx`.
///
/// # Panics
/// It has not been installed.
pub fn installed(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; run `cargo xtask install`"))
}

/// The Proxy-Wasm module of a stage filter, as `rate-limit`.
///
/// # Panics
/// It has not been built.
pub fn module(filter: &str) -> PathBuf {
    guest("LENO_TEST_MODULES", "wasm32-wasip1", filter)
}

/// The bytes of [`module`].
///
/// # Panics
/// It has not been built.
pub fn module_bytes(filter: &str) -> Vec<u8> {
    let path = module(filter);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The component core module of a stage filter, as `rate-limit`.
///
/// # Panics
/// It has not been built.
pub fn component(filter: &str) -> PathBuf {
    guest("LENO_TEST_COMPONENTS", "wasm32-unknown-unknown", filter)
}

fn guest(variable: &str, target: &str, filter: &str) -> PathBuf {
    let folder = told(variable).unwrap_or_else(|| target_folder().join(target).join("guest"));
    there(
        folder.join(format!("leno_filter_{}.wasm", filter.replace('-', "_"))),
        "cargo xtask guests",
    )
}

fn told(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Test programs are in `TARGET/PROFILE/deps`.
fn target_folder() -> PathBuf {
    let own = std::env::current_exe().ok();
    let found = own
        .as_deref()
        .and_then(|own| own.ancestors().nth(3))
        .map(Path::to_owned);
    found.unwrap_or_else(|| root().join("target"))
}

fn there(path: PathBuf, command: &str) -> PathBuf {
    assert!(path.is_file(), "{} is not there; run `{command}`", path.display());
    path
}
