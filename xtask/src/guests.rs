//! The stage filters as Wasm, for both ABIs.

use std::path::PathBuf;
use std::process::Command;

use crate::prerequisites;
use crate::shell::{Done, cargo, root, run, target_folder};

/// The most that a stage filter may weigh as a module, in bytes.
const LARGEST: u64 = 400 << 10;

/// Builds every filter for both ABIs, and checks that the modules are small. Gives the Proxy-Wasm modules.
pub(crate) fn build() -> Done<Vec<PathBuf>> {
    prerequisites::wasm_targets()?;
    let filters = names()?;
    for target in prerequisites::TARGETS {
        run(&mut for_target("build", target, &filters))?;
    }
    let modules: Vec<PathBuf> = filters
        .iter()
        .map(|filter| {
            let file = format!("leno_filter_{}.wasm", filter.replace('-', "_"));
            target_folder().join("wasm32-wasip1/guest").join(file)
        })
        .collect();
    for module in &modules {
        let size = std::fs::metadata(module)
            .map_err(|error| format!("{}: {error}", module.display()))?
            .len();
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("  {name}: {} KiB", size >> 10);
        if size > LARGEST {
            return Err(format!(
                "{name} has {} KiB; a stage filter may have {}",
                size >> 10,
                LARGEST >> 10
            ));
        }
    }
    Ok(modules)
}

/// Lints every filter and the guest side of the SDK for both ABIs: no build for a host compiles that.
pub(crate) fn lint() -> Done {
    let filters = names()?;
    for target in prerequisites::TARGETS {
        let mut command = for_target("clippy", target, &filters);
        run(command.args(["-p", "leno-sdk", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn for_target(task: &str, target: &str, filters: &[String]) -> Command {
    let mut command = cargo();
    command.args([task, "--profile", "guest", "--lib", "--target", target]);
    for filter in filters {
        command.args(["-p", &format!("leno-filter-{filter}")]);
    }
    command
}

/// The folders in `filters/`, in order.
pub(crate) fn names() -> Done<Vec<String>> {
    let folder = root().join("filters");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}
