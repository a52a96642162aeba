//! `leno verify`.

use std::process::ExitCode;

use leno_oci::reference::Reference;
use serde::Serialize;

use crate::failure::failure;
use crate::options::Verify;
use crate::output::{print, size, table};
use crate::progress::Bar;

#[derive(Serialize)]
struct Checked {
    what: &'static str,
    digest: String,
    size: u64,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(command: Verify) -> anyhow::Result<ExitCode> {
    let reference: Reference = command.reference.parse().map_err(leno_oci::error::Error::from)?;
    let client = command.registry.client()?;
    let bar = Bar::spinner("verifying");
    let checks = client.verify(&reference, &command.registry.keychain()).await?;
    drop(bar);
    let checked: Vec<Checked> = checks
        .into_iter()
        .map(|check| Checked {
            what: check.what,
            digest: check.digest,
            size: check.size,
            ok: check.result.is_ok(),
            error: check.result.err().map(|error| error.to_string()),
        })
        .collect();
    print(command.output.output, &checked, |checked| {
        let rows = checked.iter().map(|check| {
            let result = check.error.clone().unwrap_or_else(|| "ok".to_owned());
            [
                check.what.to_owned(),
                size(check.size),
                check.digest.clone(),
                result,
            ]
        });
        table(["WHAT", "SIZE", "DIGEST", "RESULT"], rows)
    })?;
    match checked.iter().filter(|check| !check.ok).count() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(failure(
            format!("{count} of {} pieces of {reference} do not hold", checked.len()),
            "do not use this artifact; push it again from a source that you trust",
        )),
    }
}
