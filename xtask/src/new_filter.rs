//! A new stage filter from the template that `leno new` uses.

use std::process::Command;

use crate::demo;
use crate::shell::{Done, root, run, target_folder};

/// Makes `filters/NAME`.
pub(crate) fn new_filter(name: &str) -> Done {
    let good = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !good {
        return Err(format!(
            "new-filter: {name:?} is not a name; use lower case letters, digits and -"
        ));
    }
    let folder = root().join("filters").join(name);
    if folder.exists() {
        return Err(format!("new-filter: {} is already there", folder.display()));
    }
    demo::binaries(false)?;
    run(Command::new(target_folder().join("debug/leno"))
        .arg("new")
        .arg(&folder)
        .current_dir(root()))
}
