//! From the command line to a bootstrap.

use std::path::Path;

use leno_model::bootstrap::Bootstrap;
use leno_xds::bootstrap::Draft;

use crate::options::Options;

/// Reads the bootstrap that `options` name: the file, what stands on the command line over it, and the node's parts
/// over both.
///
/// # Errors
/// A sentence that names the file, the field and what to do.
pub fn load(options: &Options) -> Result<Bootstrap, String> {
    let mut draft = options.config_path.as_deref().map(read).transpose()?;
    if let Some(text) = &options.config_yaml {
        let over = Draft::from_yaml(text).map_err(|refusal| format!("--config-yaml: {refusal}"))?;
        match &mut draft {
            None => draft = Some(over),
            Some(draft) => draft
                .merge(over)
                .map_err(|refusal| format!("--config-yaml: {refusal}"))?,
        }
    }
    let Some(draft) = draft else {
        return Err(
            "there is no configuration: give a file with -c FILE, or YAML with --config-yaml".to_owned(),
        );
    };
    let mut bootstrap = draft
        .finish()
        .map_err(|refusal| format!("{}: {refusal}", source(options)))?;
    let overrides = [
        (&options.service_node, &mut bootstrap.node.id),
        (&options.service_cluster, &mut bootstrap.node.cluster),
        (&options.service_zone, &mut bootstrap.node.locality.zone),
    ];
    for (given, place) in overrides {
        if let Some(given) = given {
            place.clone_from(given);
        }
    }
    if bootstrap.dynamic.ads.is_some() && bootstrap.node.id.is_empty() {
        return Err(format!(
            "{}: node.id: a proxy that asks a server needs an id (or --service-node)",
            source(options)
        ));
    }
    Ok(bootstrap)
}

/// What to call the configuration in messages.
pub fn source(options: &Options) -> String {
    match &options.config_path {
        Some(path) => path.display().to_string(),
        None => "--config-yaml".to_owned(),
    }
}

fn read(path: &Path) -> Result<Draft, String> {
    let name = path.display();
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let text = || std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"));
    let draft = match extension {
        "json" => Draft::from_json(&text()?),
        "pb" | "pb_text" => {
            return Err(format!(
                "{name}: protobuf files are not read: write the bootstrap as YAML or JSON"
            ));
        }
        _ => Draft::from_yaml(&text()?),
    };
    draft.map_err(|refusal| format!("{name}: {refusal}"))
}

#[cfg(test)]
mod tests {
    use super::load;
    use crate::options::Options;

    const NODE: &str = "node: {id: file, cluster: c}\nadmin: {address: {socket_address: {address: 127.0.0.1, \
                        port_value: 0}}}\n";

    #[test]
    fn the_command_line_goes_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.yaml");
        std::fs::write(&path, NODE).unwrap();
        let options = Options {
            config_path: Some(path),
            config_yaml: Some("node: {cluster: line}".to_owned()),
            service_zone: Some("z".to_owned()),
            ..Options::default()
        };
        let bootstrap = load(&options).unwrap();
        assert_eq!(bootstrap.node.id, "file");
        assert_eq!(bootstrap.node.cluster, "line");
        assert_eq!(bootstrap.node.locality.zone, "z");
        assert!(bootstrap.admin.is_some());
    }

    #[test]
    fn mistakes_name_the_file_and_the_field() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, text: &str, expected: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let options = Options {
                config_path: Some(path),
                ..Options::default()
            };
            let reason = load(&options).unwrap_err();
            assert!(reason.contains(name) && reason.contains(expected), "{reason}");
        };
        check("a.yaml", "nodes: {}", "nodes");
        check("b.json", "{\"node\": 3}", "node");
        check("c.pb", "", "protobuf files are not read");
        let reason = load(&Options::default()).unwrap_err();
        assert!(reason.contains("-c FILE"), "{reason}");
        let absent = Options {
            config_path: Some("/nonexistent/x.yaml".into()),
            ..Options::default()
        };
        assert!(load(&absent).unwrap_err().starts_with("/nonexistent/x.yaml: "));
    }
}
