//! The proxy's own log: levels by component, changed while it runs (`POST /logging`).
//!
//! Components have the names that Envoy uses for the same part, and each stands for modules of ours; any other name
//! is taken as a module path. Access logs do not go through here.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

use crate::options::{Level, Options};

/// What Envoy calls it, and our modules.
const COMPONENTS: [(&str, &[&str]); 12] = [
    ("admin", &["leno_proxy::admin"]),
    ("config", &["leno_proxy::config", "leno_xds"]),
    (
        "conn_handler",
        &["leno_proxy::listener", "leno_proxy::connection"],
    ),
    ("connection", &["leno_proxy::connection"]),
    ("filter", &["leno_proxy::chain", "leno_proxy::filters"]),
    ("grpc", &["tonic"]),
    ("http", &["leno_proxy::http", "leno_proxy::request"]),
    ("http2", &["h2"]),
    ("main", &["leno_proxy::server"]),
    ("router", &["leno_proxy::router", "leno_proxy::retry"]),
    ("upstream", &["leno_proxy::upstream", "leno_proxy::balancer"]),
    ("wasm", &["leno_wasm", "wasm"]),
];

/// Changes levels while the proxy runs. Clones change the same log.
#[derive(Clone)]
pub struct Control {
    levels: Arc<Mutex<Levels>>,
    handle: reload::Handle<Targets, Registry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Levels {
    default: LevelFilter,
    components: BTreeMap<String, LevelFilter>,
}

/// Starts the log of this process. Once only: another subscriber keeps its place, and this is an error.
///
/// # Errors
/// The log file cannot be opened, a level is unknown, or somebody else has started a log.
pub fn start(options: &Options) -> Result<Control, String> {
    let mut levels = Levels {
        default: filter(options.log_level),
        components: BTreeMap::new(),
    };
    for entry in options
        .component_log_level
        .iter()
        .flat_map(|list| list.split(','))
    {
        let (component, level) = entry
            .split_once(':')
            .ok_or_else(|| format!("--component-log-level: {entry:?} is not COMPONENT:LEVEL"))?;
        let level = level_of(level).map_err(|reason| format!("--component-log-level: {reason}"))?;
        levels.components.insert(component.trim().to_owned(), level);
    }
    let (layer, handle) = reload::Layer::new(levels.targets());
    let subscriber = tracing_subscriber::registry().with(layer);
    let installed = match &options.log_path {
        None => subscriber
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("--log-path {}: {error}", path.display()))?;
            subscriber
                .with(fmt::layer().with_ansi(false).with_writer(Arc::new(file)))
                .try_init()
        }
    };
    installed.map_err(|error| error.to_string())?;
    Ok(Control {
        levels: Arc::new(Mutex::new(levels)),
        handle,
    })
}

impl Control {
    /// Sets the level of everything.
    ///
    /// # Errors
    /// An unknown level.
    pub fn set_all(&self, level: &str) -> Result<(), String> {
        let level = level_of(level)?;
        self.change(|levels| {
            levels.default = level;
            levels.components.clear();
        })
    }

    /// Sets the level of one component.
    ///
    /// # Errors
    /// An unknown level.
    pub fn set(&self, component: &str, level: &str) -> Result<(), String> {
        let level = level_of(level)?;
        self.change(|levels| {
            levels.components.insert(component.to_owned(), level);
        })
    }

    /// Every component and its level, as the admin page shows it.
    pub fn describe(&self) -> String {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.describe()
    }

    fn change(&self, change: impl FnOnce(&mut Levels)) -> Result<(), String> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut levels);
        self.handle
            .reload(levels.targets())
            .map_err(|error| error.to_string())
    }
}

impl Levels {
    fn targets(&self) -> Targets {
        let mut targets = Targets::new().with_default(self.default);
        for (component, level) in &self.components {
            let known = COMPONENTS.iter().find(|(name, _)| name == component);
            match known {
                Some((_, modules)) => {
                    targets = targets.with_targets(modules.iter().map(|module| (*module, *level)))
                }
                None => targets = targets.with_target(component.clone(), *level),
            }
        }
        targets
    }

    fn describe(&self) -> String {
        let mut names: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
        names.extend(self.components.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        let mut out = "active loggers:\n".to_owned();
        for name in names {
            let level = self.components.get(name).unwrap_or(&self.default);
            out.push_str(&format!("  {name}: {}\n", name_of(*level)));
        }
        out
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        // There is nothing above an error: critical lines are errors here.
        Level::Error | Level::Critical => LevelFilter::ERROR,
        Level::Off => LevelFilter::OFF,
    }
}

fn level_of(text: &str) -> Result<LevelFilter, String> {
    let level = <Level as clap::ValueEnum>::from_str(text.trim(), true);
    let unknown = |_| format!("{text:?} is not one of trace, debug, info, warning, error, critical, off");
    level.map(filter).map_err(unknown)
}

fn name_of(level: LevelFilter) -> &'static str {
    match level.into_level() {
        None => "off",
        Some(tracing::Level::TRACE) => "trace",
        Some(tracing::Level::DEBUG) => "debug",
        Some(tracing::Level::INFO) => "info",
        Some(tracing::Level::WARN) => "warning",
        Some(tracing::Level::ERROR) => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing::Level;
    use tracing_subscriber::filter::LevelFilter;

    use super::{Levels, level_of};

    #[test]
    fn components_stand_for_our_modules() {
        let levels = Levels {
            default: LevelFilter::WARN,
            components: BTreeMap::from([
                ("wasm".to_owned(), LevelFilter::DEBUG),
                ("leno_oci".to_owned(), LevelFilter::INFO),
            ]),
        };
        let targets = levels.targets();
        assert!(targets.would_enable("leno_wasm::engine", &Level::DEBUG));
        assert!(targets.would_enable("leno_oci", &Level::INFO));
        assert!(!targets.would_enable("leno_proxy::router", &Level::INFO));
        let page = levels.describe();
        assert!(
            page.contains("  wasm: debug\n") && page.contains("  router: warning\n"),
            "{page}"
        );
    }

    #[test]
    fn unknown_levels_are_named() {
        assert_eq!(level_of("WARN"), Ok(LevelFilter::WARN));
        assert!(
            level_of("loud")
                .unwrap_err()
                .contains("\"loud\" is not one of trace")
        );
    }
}
