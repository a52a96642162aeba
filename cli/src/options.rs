//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Write, build, push, attach and run filters; see what the mesh does.
#[derive(Parser)]
#[command(
    name = "leno",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Begin a filter: a crate with a filter that runs, its test and its README
    New(New),
    /// Build a filter to Wasm
    Build(Build),
    /// Test a filter natively, and its transcripts on the Wasm builds
    Test(Test),
    /// Push a module to an OCI registry
    Push(Push),
    /// Pull a module from a registry, a web server or a file, and verify it
    Pull(Pull),
    /// Show a module: ABI, callbacks, capabilities, digests, layout
    Inspect(Inspect),
    /// Download every piece of an artifact and check its digest
    Verify(Verify),
    /// List the tags of a repository
    Tags(Tags),
    /// Say which credentials a registry would get
    Login(Login),
    /// Run a proxy from a folder of documents, with its control plane in the same process
    Run(Run),
    /// See the main job: five filters, a mesh, a swap under load, with everything embedded
    Demo(Demo),
    /// Check documents as the control plane would
    Validate(Validate),
    /// Show what a control plane knows of its proxies and plugins
    #[command(visible_alias = "ps")]
    ProxyStatus(ProxyStatus),
    /// Show what a proxy runs, from its admin port (Leno or Envoy)
    #[command(visible_alias = "pc")]
    ProxyConfig(ProxyConfig),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Print the version
    Version(Version),
}

/// How to print.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

#[derive(Args)]
pub(crate) struct OutputOptions {
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Args)]
pub(crate) struct New {
    /// Name of the crate, and of its folder
    pub(crate) name: String,
    /// Where to make the folder
    #[arg(long, default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,
    /// The `sdk` folder of a checkout of Leno to depend on; that of this program's own checkout unless given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) sdk_path: Option<PathBuf>,
    /// A git repository of Leno to depend on, for filters that are built elsewhere too
    #[arg(long, value_name = "URL", conflicts_with = "sdk_path")]
    pub(crate) sdk_git: Option<String>,
}

/// What to build for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AbiChoice {
    /// Also runs in Envoy, Istio and other Proxy-Wasm hosts
    ProxyWasm,
    /// A WIT component of the world leno:filter
    Component,
    /// Both
    All,
}

#[derive(Args)]
pub(crate) struct PackageOptions {
    /// The filter's folder
    #[arg(long, default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,
    /// Which package, when the folder has several
    #[arg(short, long, value_name = "NAME")]
    pub(crate) package: Option<String>,
}

#[derive(Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) package: PackageOptions,
    /// What to build for
    #[arg(long, value_enum, default_value = "proxy-wasm")]
    pub(crate) abi: AbiChoice,
    /// Build with the release profile even if there is one named `guest`
    #[arg(long)]
    pub(crate) release: bool,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) package: PackageOptions,
    /// On which builds to run the transcripts
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) abi: AbiChoice,
    /// Given to the test program
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct RegistryOptions {
    /// PEM certificates to trust besides the system's
    #[arg(long, value_name = "FILE", env = "LENO_CA_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// A registry that may be spoken to without TLS; those on this machine always may
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
    /// Docker's configuration to take credentials from, instead of the one in the home folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) docker_config: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// The layout to write.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// CNCF Wasm artifact
    Cncf,
    /// Two layers, as Istio, Envoy Gateway and Higress read it
    Istio,
}

#[derive(Args)]
pub(crate) struct Push {
    /// The module
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where to: HOST/REPOSITORY:TAG
    pub(crate) reference: String,
    /// The layout to write
    #[arg(long, value_enum, default_value = "cncf")]
    pub(crate) layout: Layout,
    /// Add an annotation to the manifest
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) annotation: Vec<(String, String)>,
    /// JSON schema of the filter's configuration, to keep with it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config_schema: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Pull {
    /// oci://HOST/REPOSITORY:TAG, http(s)://… or file://…; without a scheme, oci or a path that ends in .wasm
    pub(crate) reference: String,
    /// Where to write the module; the repository's last part with `.wasm` unless given
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) to: Option<PathBuf>,
    /// What must come: sha256 of the module, the manifest or the file
    #[arg(long, value_name = "DIGEST")]
    pub(crate) sha256: Option<String>,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// A file, or a reference as for `pull`
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) module: String,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Tags {
    /// HOST/REPOSITORY
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Login {
    /// HOST or HOST:PORT
    pub(crate) registry: String,
    /// Docker's configuration to look into, instead of the one in the home folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) docker_config: Option<PathBuf>,
}

/// What a proxy is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// At the edge: serves Gateways
    Gateway,
    /// Beside a workload: serves a Sidecar
    Sidecar,
}

#[derive(Args)]
pub(crate) struct Run {
    /// The folder of documents
    #[arg(short = 'f', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// What the proxy is
    #[arg(long, value_enum, default_value = "gateway")]
    pub(crate) role: Role,
    /// Its namespace; that of the first Gateway unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// A label of it, may be repeated; for a gateway, what the Gateways select unless given
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) label: Vec<(String, String)>,
    /// Where artifacts are kept; a temporary folder unless given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// Where the embedded registry and the status are served
    #[arg(long, default_value = "127.0.0.1:15014", value_name = "ADDRESS")]
    pub(crate) http: std::net::SocketAddr,
    /// Where the proxy's admin page is served
    #[arg(long, default_value = "127.0.0.1:15000", value_name = "ADDRESS")]
    pub(crate) admin: std::net::SocketAddr,
    /// Worker threads of the proxy; one per core unless given
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,
    /// How long exchanges may take to finish at the end
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) drain_time_s: u64,
    /// Where the proxy writes access logs, as /dev/stdout; none unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// PEM certificates of registries to trust besides the system's
    #[arg(long, value_name = "FILE", env = "LENO_CA_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// A registry that may be spoken to without TLS; those on this machine always may
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Demo {
    /// The folder with the stage filters as modules (`cargo xtask guests` builds them)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) modules: PathBuf,
    /// End after the report, and fail if any of it did not hold
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args)]
pub(crate) struct Validate {
    /// Files or folders of documents
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct ProxyStatus {
    /// The control plane's HTTP address
    #[arg(
        long,
        value_name = "URL",
        env = "LENO_CONTROL_PLANE",
        default_value = "http://127.0.0.1:15014"
    )]
    pub(crate) control_plane: String,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A part of a proxy's configuration.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigPart {
    /// Where it listens
    Listeners,
    /// Virtual hosts by route configuration
    Routes,
    /// Where it can send to
    Clusters,
    /// Hosts of clusters, and their health
    Endpoints,
    /// Filter chains in their order
    Filters,
    /// What it was started with
    Bootstrap,
    /// The whole dump
    All,
}

#[derive(Args)]
pub(crate) struct ProxyConfig {
    /// Which part
    #[arg(value_enum)]
    pub(crate) part: ConfigPart,
    /// The proxy's admin address
    #[arg(
        long,
        value_name = "URL",
        env = "LENO_ADMIN",
        default_value = "http://127.0.0.1:15000"
    )]
    pub(crate) admin: String,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Args)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "want a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("want a positive number of seconds".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("want KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
