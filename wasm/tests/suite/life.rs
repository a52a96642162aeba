//! How plugins and exchanges begin and end, and what a guest sees of its surroundings.

use std::collections::BTreeSet;

use leno_sdk::plugin::{HeadersVerdict, Interest};
use leno_wasm::{PluginOptions, StartError, VmOptions};

use crate::support::{Host, Recorded, compile, guest, named, start, start_with};

/// Logs the name of each callback as it is called, with one digit for its context.
fn speaking(result_of_done: u32) -> String {
    let mut items = String::new();
    let callbacks = [
        ("create", "proxy_on_context_create", "(param i32 i32)", ""),
        (
            "start",
            "proxy_on_vm_start",
            "(param i32 i32) (result i32)",
            "(i32.const 1)",
        ),
        (
            "configure",
            "proxy_on_configure",
            "(param i32 i32) (result i32)",
            "(i32.const 1)",
        ),
        ("tick", "proxy_on_tick", "(param i32)", ""),
        (
            "headers",
            "proxy_on_request_headers",
            "(param i32 i32 i32) (result i32)",
            "(i32.const 1)",
        ),
        ("log", "proxy_on_log", "(param i32)", ""),
        ("done", "proxy_on_done", "(param i32) (result i32)", "DONE"),
        ("delete", "proxy_on_delete", "(param i32)", ""),
    ];
    for (number, (name, export, signature, result)) in callbacks.iter().enumerate() {
        let at = 1024 + number * 16;
        let digit = at + name.len() + 1;
        let result = result.replace("DONE", &format!("(i32.const {result_of_done})"));
        items.push_str(&format!(
            r#"(data (i32.const {at}) "{name} ")
            (func (export "{export}") {signature}
              (i32.store8 (i32.const {digit}) (i32.add (i32.const 48) (local.get 0)))
              (call $say (i32.const {at}) (i32.const {})) {result})"#,
            name.len() + 2,
        ));
    }
    guest("", &items)
}

fn log(host: &Host) -> Vec<String> {
    host.take_log()
        .iter()
        .map(|line| line.replace("Info ", ""))
        .collect()
}

#[test]
fn exchanges_end_with_log_done_delete_and_roots_after_the_last_of_them() {
    let (plugin, host) = start(&compile(&speaking(1)), "").unwrap();
    assert_eq!(log(&host), ["create 1", "start 1", "configure 1"]);
    let mut first = plugin.exchange(Recorded::get("/")).unwrap();
    let mut second = plugin.exchange(Recorded::get("/")).unwrap();
    first.on_request_headers(4, true).unwrap();
    first.on_log().unwrap();
    first.finish();
    assert_eq!(
        log(&host),
        ["create 2", "create 3", "headers 2", "log 2", "done 2", "delete 2"]
    );
    plugin.on_tick().unwrap();
    plugin.on_shutdown();
    assert_eq!(log(&host), ["tick 1"]);
    second.on_log().unwrap();
    second.finish();
    assert_eq!(log(&host), ["log 3", "done 3", "delete 3", "done 1", "delete 1"]);
    drop(plugin);
    assert_eq!(log(&host), [""; 0]);
}

#[test]
fn a_dropped_plugin_ends_as_if_it_were_shut_down() {
    let (plugin, host) = start(&compile(&speaking(1)), "").unwrap();
    log(&host);
    drop(plugin);
    assert_eq!(log(&host), ["done 1", "delete 1"]);
}

#[test]
fn a_root_that_asks_for_time_is_deleted_when_it_says_so() {
    let import = r#"(import "env" "proxy_done" (func $finished (result i32))) (memory"#;
    let text = speaking(0).replace("(memory", import);
    let text = text.replace(
        r#"(func (export "proxy_on_tick") (param i32)"#,
        r#"(func (export "proxy_on_tick") (param i32) (drop (call $finished))"#,
    );
    let (plugin, host) = start(&compile(&text), "").unwrap();
    log(&host);
    plugin.on_tick().unwrap();
    assert_eq!(log(&host), ["tick 1"], "nothing was put off");
    plugin.on_shutdown();
    assert_eq!(log(&host), ["done 1"]);
    plugin.on_tick().unwrap();
    assert_eq!(log(&host), ["tick 1", "delete 1"]);
}

#[test]
fn interest_is_what_the_module_exports() {
    let (plugin, host) = start(&compile(&speaking(1)), "").unwrap();
    assert_eq!(
        plugin.interest(),
        Interest {
            request_headers: true,
            ..Interest::NONE
        }
    );
    assert_eq!(
        *host.accounted.borrow(),
        [
            "proxy_on_context_create",
            "proxy_on_vm_start",
            "proxy_on_configure"
        ]
    );
}

#[test]
fn action_1_holds_headers_alone_only_when_the_plugin_says_so() {
    let module = compile(&speaking(1));
    for (allow, expected) in [(false, HeadersVerdict::Hold), (true, HeadersVerdict::HoldHeaders)] {
        let options = PluginOptions {
            allow_on_headers_stop_iteration: allow,
            ..named("p")
        };
        let (plugin, _) = start_with(&module, &VmOptions::default(), &options).unwrap();
        let mut exchange = plugin.exchange(Recorded::get("/")).unwrap();
        assert_eq!(exchange.on_request_headers(4, false).unwrap(), expected);
    }
}

#[test]
fn capabilities_that_are_not_allowed_are_refused_and_callbacks_left_out() {
    let allowed = ["proxy_on_vm_start", "proxy_on_tick"].map(String::from);
    let vm = VmOptions {
        allowed_capabilities: Some(BTreeSet::from(allowed)),
        ..VmOptions::default()
    };
    let (plugin, host) = start_with(&compile(&speaking(1)), &vm, &named("p")).unwrap();
    plugin.on_tick().unwrap();
    assert_eq!(plugin.interest(), Interest::NONE);
    let refused = "Error asked for proxy_log, which the plugin's capabilities do not allow";
    assert_eq!(host.take_log(), [refused, refused]);
    assert_eq!(*host.accounted.borrow(), ["proxy_on_vm_start", "proxy_on_tick"]);
}

const WASI: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_unstable" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_unstable" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
"#;

#[test]
fn output_becomes_lines_and_the_environment_is_the_plugins() {
    // Two writes make one line; the second also begins one that only a trap ends.
    let items = r#"
        (data (i32.const 1024) "one ") (data (i32.const 1040) "line\nlast words")
        (data (i32.const 1100) "\00\04\00\00\04\00\00\00") (data (i32.const 1108) "\10\04\00\00\0f\00\00\00")
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
          (drop (call $sizes (i32.const 3000) (i32.const 3004)))
          (drop (call $environ (i32.const 3008) (i32.const 4000)))
          (call $say (i32.load (i32.const 3012)) (i32.sub (i32.load (i32.const 3004)) (i32.const 4)))
          (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (drop (call $write (i32.const 2) (i32.const 1100) (i32.const 1) (i32.const 3000)))
          (drop (call $write (i32.const 2) (i32.const 1108) (i32.const 1) (i32.const 3000)))
          (drop (call $random (i32.const 5000) (i32.const 16)))
          (if (i64.eqz (i64.load (i32.const 5000))) (then (call $exit (i32.const 3))))
          unreachable)"#;
    let environment = [("A", "1"), ("NAME", "value")].map(|(name, value)| (name.into(), value.into()));
    let vm = VmOptions {
        environment: environment.into(),
        ..VmOptions::default()
    };
    let (plugin, host) = start_with(&compile(&guest(WASI, items)), &vm, &named("p")).unwrap();
    assert_eq!(host.take_log(), ["Info NAME=value\0"]);
    assert!(plugin.on_tick().unwrap_err().0.contains("unreachable"));
    assert_eq!(host.take_log(), ["Error one line", "Error last words"]);
}

#[test]
fn a_main_that_exits_with_zero_has_started_and_any_other_has_not() {
    let exits = |code: u32| {
        let items = format!(r#"(func (export "_start") (call $exit (i32.const {code})))"#);
        start(&compile(&guest(WASI, &items)), "").map(drop)
    };
    assert_eq!(exits(0), Ok(()));
    let Err(StartError::Failed { trap, .. }) = exits(3) else {
        panic!("it started")
    };
    assert!(
        trap.0.starts_with("_start failed: the guest called exit(3)"),
        "{trap}"
    );
}
