//! What is encoded once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leno_model::filter::{FailurePolicy, FilterConfig, InlineCode, WasmCode, WasmFilter, WasmVm};
use leno_model::snapshot::Snapshot;
use leno_xds::ads::published::Published;
use leno_xds::resource::Kind;

/// One filter with this code, inline.
fn with_code(code: &InlineCode) -> Snapshot {
    let filter = WasmFilter {
        name: "ns.filter".to_owned(),
        root_id: String::new(),
        vm: WasmVm {
            id: "ns".to_owned(),
            code: WasmCode::Inline(code.clone()),
            configuration: Vec::new(),
            environment: BTreeMap::new(),
            host_environment: BTreeSet::new(),
        },
        configuration: Vec::new(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    };
    let mut snapshot = Snapshot::default();
    let config = FilterConfig::Wasm(Box::new(filter));
    snapshot.filters.insert("filter".to_owned(), Arc::new(config));
    snapshot
}

#[test]
fn inline_code_makes_versions_and_is_encoded_once_for_all_views() {
    let (old, new) = (InlineCode::from(&b"\0asm1"[..]), InlineCode::from(&b"\0asm2"[..]));
    let first = Published::new(&with_code(&old), None);
    let before = Published::new(&with_code(&new), None);
    let second = Published::new(&with_code(&old), [&before, &first]);
    let entry = |published: &Published| published.set(Kind::Filter).entries["filter"].clone();
    assert_ne!(entry(&first).version, entry(&before).version);
    assert!(Arc::ptr_eq(&entry(&first), &entry(&second)));
}
