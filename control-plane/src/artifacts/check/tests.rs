use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leno_oci::client::{Client, Options};
use leno_oci::fetch::Fetcher;
use leno_oci::store::Store;
use leno_wasm::{Engine, Limits};

use super::{Checked, check};
use crate::api::meta::Meta;
use crate::artifacts::failure::{Failure, Step};
use crate::artifacts::ledger::{Job, PullSecretOf};
use crate::artifacts::{Compiled, Tools};
use crate::world::Object;

/// Starts only with exactly one variable.
const WANTS_ONE_VARIABLE: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 8192))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $sizes (i32.const 1024) (i32.const 1028)))
      (i32.load (i32.const 1024))))"#;

async fn checked(folder: &Path, env: serde_json::Value, module: &[u8]) -> Result<Checked, Failure> {
    let file = folder.join("m.wasm");
    std::fs::write(&file, module).expect("write");
    let store = Arc::new(Store::open(folder.join("store"), 1 << 20).expect("a store"));
    let tools = Tools {
        fetcher: Fetcher::new(Client::new(Options::default()).expect("a client"), store),
        engine: Engine::new(Limits::default()).expect("an engine"),
        poll: Duration::from_secs(10),
        compiled: Compiled::default(),
    };
    let url = format!("file://{}", file.display());
    let spec = serde_json::from_value(serde_json::json!({"url": url, "vmConfig": {"env": env}}));
    let job = Job {
        key: Meta::default().key(),
        plugin: Arc::new(Object {
            meta: Meta::default(),
            spec: spec.expect("a spec"),
        }),
        pull_secret: PullSecretOf::None,
        ask: false,
    };
    check(&tools, &job).await
}

#[tokio::test]
async fn the_trial_has_the_environment_that_is_known() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = wat::parse_str(WANTS_ONE_VARIABLE).expect("a module");
    let with = async |env| checked(folder.path(), env, &module).await;
    let inline = with(serde_json::json!([{"name": "MUST", "value": "x"}])).await;
    assert_eq!(inline.expect("it starts").note, None);
    let none = with(serde_json::json!([]))
        .await
        .expect_err("it wants a variable");
    assert_eq!(none.step, Step::Configure, "{none}");
    let host = with(serde_json::json!([{"name": "MUST", "valueFrom": "HOST"}])).await;
    let note = host.expect("it may start at the proxy").note.expect("a note");
    assert!(
        note.contains("without MUST") && note.contains("proxy_on_configure"),
        "{note}"
    );
}

#[tokio::test]
async fn failures_name_their_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = async |module: &[u8]| {
        let outcome = checked(folder.path(), serde_json::json!([]), module).await;
        outcome.expect_err("it is no filter").step
    };
    assert_eq!(with(b"text").await, Step::Verify);
    assert_eq!(with(b"\0asm\x01\0\0\0").await, Step::Compile);
    let missing = folder.path().join("missing");
    let error = Failure::from(leno_oci::error::Error::File {
        path: missing.display().to_string(),
        source: std::io::ErrorKind::NotFound.into(),
    });
    assert_eq!(error.step, Step::Pull);
}
