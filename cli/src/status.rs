//! `leno proxy-status`: what a control plane knows of its proxies and plugins.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use leno_control_plane::status::Status;

use crate::failure::failure;
use crate::options::ProxyStatus;
use crate::output;

/// Exit code 0 when a control plane answers.
pub(crate) async fn run(command: ProxyStatus) -> anyhow::Result<ExitCode> {
    let base = if command.control_plane.contains("://") {
        command.control_plane.clone()
    } else {
        format!("http://{}", command.control_plane)
    };
    let url = format!("{}/status", base.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()?;
    let response = client.get(&url).send().await.map_err(|error| {
        failure(
            format!("no control plane answers at {base}: {}", error.without_url()),
            "--control-plane with the address of its HTTP port, and check that it runs",
        )
    })?;
    let status: Status = response
        .error_for_status()
        .with_context(|| format!("{url} does not give a status"))?
        .json()
        .await
        .with_context(|| format!("{url} gives something else"))?;
    output::print(command.output.output, &status, tables)?;
    Ok(ExitCode::SUCCESS)
}

fn tables(status: &Status) -> String {
    let kinds = [
        ("CDS", "Cluster"),
        ("LDS", "Listener"),
        ("EDS", "ClusterLoadAssignment"),
        ("RDS", "RouteConfiguration"),
        ("ECDS", "TypedExtensionConfig"),
    ];
    let mut parts = Vec::new();
    parts.push(output::table(
        ["PROXY", "ROLE", "AGENT", "CDS", "LDS", "EDS", "RDS", "ECDS"],
        status.proxies.iter().map(|proxy| {
            let state = |kind: &str| {
                let said = proxy.kinds.get(kind).map_or("-", String::as_str);
                said.split([' ', ':']).next().unwrap_or_default().to_uppercase()
            };
            let [cds, lds, eds, rds, ecds] = kinds.map(|(_, kind)| state(kind));
            [
                proxy.node.clone(),
                proxy.role.clone(),
                proxy.agent.clone(),
                cds,
                lds,
                eds,
                rds,
                ecds,
            ]
        }),
    ));
    parts.push(output::table(
        ["PLUGIN", "ABI", "SHA256", "STATE"],
        status.plugins.iter().map(|plugin| {
            let short = |digest: &Option<String>| {
                digest
                    .as_ref()
                    .map_or("-".to_owned(), |digest| digest.chars().take(12).collect())
            };
            [
                format!("{}/{}", plugin.namespace, plugin.name),
                plugin.abi.clone().unwrap_or_else(|| "-".to_owned()),
                short(&plugin.sha256),
                plugin.summary.clone(),
            ]
        }),
    ));
    for proxy in &status.proxies {
        let refused = proxy.kinds.iter().filter(|(_, said)| said.starts_with("refused"));
        parts.extend(refused.map(|(kind, said)| format!("{}: {kind} {said}", proxy.node)));
    }
    for problem in &status.problems {
        let object = problem
            .object
            .as_ref()
            .map(|object| format!("{object}: "))
            .unwrap_or_default();
        let kept = if problem.keeps_last_good {
            " (the last good version serves)"
        } else {
            ""
        };
        parts.push(format!(
            "{}:{}: {object}{}{kept}",
            problem.file, problem.line, problem.message
        ));
    }
    parts.extend(
        status
            .notes
            .iter()
            .map(|note| format!("{}: {}", note.object, note.message)),
    );
    parts.join("\n\n")
}
