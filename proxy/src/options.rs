//! The command line: Envoy's, so that one line and one file run on both.
//!
//! Every option of Envoy is either honoured, or accepted because scripts pass it and named at start with the reason
//! why it changes nothing here. An option that Envoy does not know is refused.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};

/// A proxy of the Leno mesh. It reads the bootstrap of Envoy's v3 API.
#[derive(Clone, Debug, Parser)]
#[command(name = "leno-proxy", version, max_term_width = 110)]
#[allow(clippy::struct_excessive_bools, reason = "one per switch of the command line")]
pub struct Options {
    /// The bootstrap: YAML or JSON.
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// The bootstrap as text; with --config-path its fields go over those of the file.
    #[arg(long, value_name = "YAML")]
    pub config_yaml: Option<String>,
    /// What to do: serve, or only check the configuration.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Mode::Serve)]
    pub mode: Mode,
    /// Worker threads; the processors that this process may use when not said.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// The node's id, over the one of the bootstrap.
    #[arg(long, value_name = "ID")]
    pub service_node: Option<String>,
    /// The node's cluster, over the one of the bootstrap.
    #[arg(long, value_name = "NAME")]
    pub service_cluster: Option<String>,
    /// The node's zone, over the one of the bootstrap.
    #[arg(long, value_name = "NAME")]
    pub service_zone: Option<String>,
    /// The quietest log lines that are written.
    #[arg(short = 'l', long, value_enum, ignore_case = true, default_value_t = Level::Info)]
    pub log_level: Level,
    /// Levels of single components, as `wasm:debug,upstream:trace`.
    #[arg(long, value_name = "LIST")]
    pub component_log_level: Option<String>,
    /// A file for the log; standard error when not said.
    #[arg(long, value_name = "FILE")]
    pub log_path: Option<PathBuf>,
    /// How long exchanges may take to finish after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub drain_time_s: u64,
    /// How connections are asked to close while draining.
    #[arg(long, value_enum, value_name = "STRATEGY")]
    pub drain_strategy: Option<DrainStrategy>,
    /// A file to write the address of the admin page to, once it is known.
    #[arg(long, value_name = "FILE")]
    pub admin_address_path: Option<PathBuf>,
    /// How long access log lines may wait before they are written (Envoy's default is 10000).
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    pub file_flush_interval_msec: u64,
    /// Options that are accepted and change nothing.
    #[command(flatten)]
    pub accepted: Accepted,
}

/// Options of Envoy that change nothing here. [`Options::notes`] says why.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Accepted without effect")]
#[allow(clippy::struct_excessive_bools, reason = "one per switch of the command line")]
pub struct Accepted {
    /// Only version 3 exists.
    #[arg(long, value_name = "3", value_parser = clap::value_parser!(u32).range(3..=3))]
    pub bootstrap_version: Option<u32>,
    /// The default number of workers always follows the processors that this process may use.
    #[arg(long)]
    pub cpuset_threads: bool,
    /// Hot restart: processes do not share memory, so they need no id.
    #[arg(long, value_name = "N")]
    pub base_id: Option<u32>,
    /// Hot restart: see --base-id.
    #[arg(long)]
    pub use_dynamic_base_id: bool,
    /// Hot restart: see --base-id. No file is written.
    #[arg(long, value_name = "FILE")]
    pub base_id_path: Option<PathBuf>,
    /// Hot restart: a new process takes over with SO_REUSEPORT instead.
    #[arg(long, value_name = "N")]
    pub restart_epoch: Option<u32>,
    /// Hot restart is never used.
    #[arg(long)]
    pub disable_hot_restart: bool,
    /// Hot restart: there is no parent.
    #[arg(long)]
    pub skip_hot_restart_on_no_parent: bool,
    /// Hot restart: there is no parent.
    #[arg(long)]
    pub skip_hot_restart_parent_stats: bool,
    /// Hot restart: there is no parent that would have to go.
    #[arg(long, value_name = "SECONDS")]
    pub parent_shutdown_time_s: Option<u64>,
    /// Hot restart: no socket is made.
    #[arg(long, value_name = "PATH")]
    pub socket_path: Option<String>,
    /// Hot restart: no socket is made.
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<String>,
    /// Log lines have one format.
    #[arg(long, value_name = "PATTERN")]
    pub log_format: Option<String>,
    /// Log lines are always escaped.
    #[arg(long)]
    pub log_format_escaped: bool,
    /// Components are always named by their module.
    #[arg(long)]
    pub enable_fine_grain_logging: bool,
    /// Workers hold no locks that could be traced.
    #[arg(long)]
    pub enable_mutex_tracing: bool,
    /// Print the version of hot restart, and end: there is none.
    #[arg(long)]
    pub hot_restart_version: bool,
    /// Use the system's own settings for core dumps.
    #[arg(long)]
    pub enable_core_dump: bool,
    /// A field that this program does not know is refused, never ignored.
    #[arg(long)]
    pub ignore_unknown_dynamic_fields: bool,
    /// Always so.
    #[arg(long)]
    pub reject_unknown_dynamic_fields: bool,
    /// A field that this program does not know is refused, never ignored.
    #[arg(long)]
    pub allow_unknown_static_fields: bool,
    /// A field that this program does not know is refused, never ignored.
    #[arg(long)]
    pub allow_unknown_fields: bool,
    /// Deprecated fields are refused or taken, without a word.
    #[arg(long)]
    pub skip_deprecated_logs: bool,
    /// Names of clusters are resolved to both IP versions.
    #[arg(long, value_name = "v4|v6")]
    pub local_address_ip_version: Option<String>,
    /// Extensions are not registered by name.
    #[arg(long, value_name = "LIST")]
    pub disable_extensions: Option<String>,
    /// Tags of statistics are fixed.
    #[arg(long, value_name = "NAME:VALUE", action = ArgAction::Append)]
    pub stats_tag: Vec<String>,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Until it is told to stop.
    Serve,
    /// Read and check the configuration, say what is wrong, and end.
    Validate,
    /// As validate, with all that a start does before it serves.
    #[value(name = "init_only")]
    InitOnly,
}

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "named as Envoy names them")]
pub enum Level {
    Trace,
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    #[value(alias = "err")]
    Error,
    Critical,
    Off,
}

/// `--drain-strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrainStrategy {
    /// More and more of the connections over the drain time.
    Gradual,
    /// All at once.
    Immediate,
}

impl Default for Options {
    fn default() -> Self {
        Self::parse_from(["leno-proxy"])
    }
}

impl Options {
    /// The defaults, with this bootstrap.
    pub fn with_yaml(config: impl Into<String>) -> Self {
        Self {
            config_yaml: Some(config.into()),
            ..Self::default()
        }
    }

    /// How many workers to start.
    pub fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.concurrency
            .filter(|workers| *workers > 0)
            .unwrap_or_else(processors)
    }

    /// How long exchanges may take to finish.
    pub fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_time_s)
    }

    /// How long access log lines may wait.
    pub fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.file_flush_interval_msec.max(1))
    }

    /// For every option that was given and changes nothing: its name and why.
    pub fn notes(&self) -> Vec<(&'static str, &'static str)> {
        const HOT_RESTART: &str = "there is no hot restart; a new process takes over with SO_REUSEPORT";
        const STRICT: &str = "a field that is not known is refused, so that nothing is silently ignored";
        let given = &self.accepted;
        let table = [
            (given.base_id.is_some(), "--base-id", HOT_RESTART),
            (given.use_dynamic_base_id, "--use-dynamic-base-id", HOT_RESTART),
            (given.base_id_path.is_some(), "--base-id-path", HOT_RESTART),
            (given.restart_epoch.is_some(), "--restart-epoch", HOT_RESTART),
            (
                given.skip_hot_restart_on_no_parent,
                "--skip-hot-restart-on-no-parent",
                HOT_RESTART,
            ),
            (
                given.skip_hot_restart_parent_stats,
                "--skip-hot-restart-parent-stats",
                HOT_RESTART,
            ),
            (
                given.parent_shutdown_time_s.is_some(),
                "--parent-shutdown-time-s",
                HOT_RESTART,
            ),
            (given.socket_path.is_some(), "--socket-path", HOT_RESTART),
            (given.socket_mode.is_some(), "--socket-mode", HOT_RESTART),
            (
                given.log_format.is_some(),
                "--log-format",
                "log lines have one format",
            ),
            (
                given.log_format_escaped,
                "--log-format-escaped",
                "log lines are always escaped",
            ),
            (
                given.enable_fine_grain_logging,
                "--enable-fine-grain-logging",
                "use --component-log-level, which takes any module",
            ),
            (
                given.enable_mutex_tracing,
                "--enable-mutex-tracing",
                "there is nothing to trace: the request path has no lock",
            ),
            (
                given.enable_core_dump,
                "--enable-core-dump",
                "set it with ulimit -c",
            ),
            (
                given.ignore_unknown_dynamic_fields,
                "--ignore-unknown-dynamic-fields",
                STRICT,
            ),
            (
                given.allow_unknown_static_fields,
                "--allow-unknown-static-fields",
                STRICT,
            ),
            (given.allow_unknown_fields, "--allow-unknown-fields", STRICT),
            (
                given.local_address_ip_version.is_some(),
                "--local-address-ip-version",
                "addresses are taken as the bootstrap gives them",
            ),
            (
                given.disable_extensions.is_some(),
                "--disable-extensions",
                "extensions are not registered by name",
            ),
            (
                !given.stats_tag.is_empty(),
                "--stats-tag",
                "tags of statistics are fixed",
            ),
            (
                self.drain_strategy == Some(DrainStrategy::Gradual),
                "--drain-strategy gradual",
                "every connection is asked to close at once, and has the whole drain time to do so",
            ),
        ];
        let given = table.into_iter().filter(|(given, _, _)| *given);
        given.map(|(_, option, why)| (option, why)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Level, Mode, Options};

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("leno-proxy").chain(line.split_whitespace()))
    }

    #[test]
    fn the_table_of_options_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn istios_command_line_is_taken() {
        let options = parse(
            "-c etc/envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 \
             --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning \
             --component-log-level misc:error --skip-deprecated-logs --concurrency 2 --service-cluster istio-proxy \
             --service-node sidecar~10.0.0.1~a.b~b.svc",
        )
        .unwrap();
        assert_eq!(options.drain_time_s, 45);
        assert_eq!(options.workers(), 2);
        assert_eq!(options.log_level, Level::Warning);
        assert_eq!(
            options.service_node.as_deref(),
            Some("sidecar~10.0.0.1~a.b~b.svc")
        );
        let notes: Vec<_> = options.notes().into_iter().map(|(option, _)| option).collect();
        assert_eq!(
            notes,
            ["--allow-unknown-static-fields", "--local-address-ip-version"]
        );
    }

    #[test]
    fn levels_and_modes_have_envoys_names() {
        for (line, level) in [
            ("-l trace", Level::Trace),
            ("-l WARN", Level::Warning),
            ("--log-level off", Level::Off),
        ] {
            assert_eq!(parse(line).unwrap().log_level, level, "{line}");
        }
        assert_eq!(parse("--mode validate").unwrap().mode, Mode::Validate);
        assert_eq!(parse("--mode init_only").unwrap().mode, Mode::InitOnly);
    }

    #[test]
    fn what_envoy_does_not_know_is_refused() {
        for line in [
            "--no-such-option",
            "--mode dance",
            "-l loud",
            "--concurrency many",
            "--bootstrap-version 2",
            "x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn there_is_always_a_worker() {
        assert!(parse("--concurrency 0").unwrap().workers() >= 1);
    }
}
