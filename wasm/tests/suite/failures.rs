//! Guests that break: what they are told, who else is lost, and that nothing hangs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use leno_wasm::{StartError, VmOptions, Worker};

use crate::support::{Host, Recorded, compile, engine, guest, named, start};

/// Breaks in its request headers callback in the way of `body`.
fn breaking(body: &str) -> String {
    guest(
        "",
        &format!(
            r#"(func $inner (result i32) {body})
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $inner))"#
        ),
    )
}

fn trap_text(body: &str) -> String {
    let (plugin, _) = start(&compile(&breaking(body)), "").unwrap();
    let mut exchange = plugin.exchange(Recorded::get("/")).unwrap();
    let trap = exchange.on_request_headers(4, true).unwrap_err();
    assert!(plugin.is_broken());
    trap.0
}

#[test]
fn a_trap_names_callback_reason_and_frames() {
    let text = trap_text("unreachable");
    assert!(
        text.starts_with("proxy_on_request_headers failed: wasm trap: wasm `unreachable`"),
        "{text}"
    );
    assert!(text.contains("\nin-VM backtrace:\n  0: 0x"), "{text}");
    assert!(text.contains(" - inner\n"), "{text}");
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    let begun = Instant::now();
    let text = trap_text("(loop $again (br $again)) (i32.const 0)");
    assert!(text.contains("it ran longer than its deadline"), "{text}");
    assert!(begun.elapsed() >= Duration::from_millis(400));
}

#[test]
fn too_much_memory_is_refused_and_named() {
    let text = trap_text(
        "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable)) (i32.const 0)",
    );
    assert!(
        text.contains("it asked for 131203072 bytes of memory, and the limit is 8388608"),
        "{text}"
    );
}

#[test]
fn endless_recursion_is_a_trap() {
    let text = trap_text("(call $inner)");
    assert!(text.contains("call stack exhausted"), "{text}");
}

#[test]
fn a_trap_fails_every_exchange_of_every_plugin_in_the_vm() {
    let module = compile(&breaking("unreachable"));
    let worker = Worker::new(engine());
    let plugin = |name: &str| {
        let host = Rc::new(Host::default());
        worker
            .plugin(&module, &VmOptions::default(), &named(name), host)
            .unwrap()
    };
    let (first, second) = (plugin("first"), plugin("second"));
    let hosts = [Recorded::get("/"), Recorded::get("/"), Recorded::get("/")];
    let mut breaks = first.exchange(hosts[0].clone()).unwrap();
    let mut of_first = first.exchange(hosts[1].clone()).unwrap();
    let of_second = second.exchange(hosts[2].clone()).unwrap();
    breaks.on_request_headers(4, true).unwrap_err();
    assert_eq!(
        hosts.each_ref().map(|host| host.failed.get()),
        [false, true, true]
    );
    assert!(first.is_broken() && second.is_broken());
    assert!(of_first.on_log().is_ok(), "an absent callback is none");
    assert!(
        of_first
            .on_request_headers(4, true)
            .unwrap_err()
            .0
            .contains("failed before")
    );
    assert!(second.exchange(Recorded::get("/")).is_err());
    breaks.finish();
    of_second.finish();
    assert!(!plugin("third").is_broken(), "a broken VM is replaced");
}

#[test]
fn plugins_share_a_vm_only_when_all_options_are_equal() {
    // Counts in its memory how many plugins it has started.
    let module = compile(&guest(
        "",
        r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1)))
        (i32.store8 (i32.const 17) (i32.add (i32.load8_u (i32.const 16)) (i32.const 48)))
        (call $say (i32.const 17) (i32.const 1)) (i32.const 1))"#,
    ));
    let worker = Worker::new(engine());
    let check = |vm: &VmOptions, expected: &str| {
        let host = Rc::new(Host::default());
        let plugin = worker
            .plugin(&module, vm, &named("p"), Rc::<Host>::clone(&host))
            .unwrap();
        assert_eq!(host.take_log(), [expected]);
        plugin
    };
    let common = VmOptions::default();
    let other = VmOptions {
        vm_id: "other".into(),
        ..VmOptions::default()
    };
    let kept = [
        check(&common, "Info 1"),
        check(&other, "Info 1"),
        check(&common, "Info 2"),
    ];
    drop(kept);
    check(&common, "Info 1");
}

#[test]
fn a_start_that_fails_says_where_and_what_was_logged() {
    let log = r#"(data (i32.const 1024) "no key") "#;
    let say = "(call $say (i32.const 1024) (i32.const 6))";
    let configure = |body: &str| {
        let items =
            format!(r#"{log} (func (export "proxy_on_configure") (param i32 i32) (result i32) {body})"#);
        start(&compile(&guest("", &items)), "").err().unwrap()
    };
    let refused = configure(&format!("{say} (i32.const 0)"));
    let expected = StartError::Refused {
        callback: "proxy_on_configure",
        log: vec!["no key".into()],
    };
    assert_eq!(refused, expected);
    assert_eq!(
        refused.to_string(),
        "proxy_on_configure returned false; it logged: no key"
    );
    let broke = configure(&format!("{say} unreachable")).to_string();
    assert!(
        broke.starts_with("proxy_on_configure failed: wasm trap"),
        "{broke}"
    );
    assert!(broke.ends_with("; it logged: no key"), "{broke}");
    let endless = configure("(i32.const 0)").to_string();
    assert_eq!(endless, "proxy_on_configure returned false");
}

#[test]
fn an_allocator_that_misbehaves_breaks_only_its_guest() {
    let imports =
        r#"(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))"#;
    let items = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store8 (i32.const 16) (i32.add (i32.const 48)
          (call $pairs (i32.const 0) (i32.const 2048) (i32.const 2052))))
        (call $say (i32.const 16) (i32.const 1)) (i32.const 0))"#;
    let with = |allocator: &str| {
        let text = guest(imports, items).replace(r#"(export "malloc")"#, "");
        let text = format!("{} {allocator})", text.trim_end().strip_suffix(')').unwrap());
        let (plugin, host) = start(&compile(&text), "").unwrap();
        let mut exchange = plugin.exchange(Recorded::get("/")).unwrap();
        exchange
            .on_request_headers(4, true)
            .map(|_| host.take_log())
            .map_err(|trap| trap.0)
    };
    let name = "proxy_on_memory_allocate";
    let allocator = |body: &str| format!(r#"(func (export "{name}") (param i32) (result i32) {body})"#);
    assert_eq!(with(&allocator("(i32.const 4096)")).unwrap(), ["Info 0"]);
    assert_eq!(
        with(&allocator("(i32.const 0)")).unwrap(),
        ["Info 6"],
        "out of memory"
    );
    assert_eq!(
        with(&allocator("(i32.const -8)")).unwrap(),
        ["Info 6"],
        "beyond the memory"
    );
    assert!(
        with(&allocator("unreachable"))
            .unwrap_err()
            .contains("unreachable")
    );
    let again = "(call $pairs (i32.const 0) (i32.const 2048) (i32.const 2052))";
    assert!(
        with(&allocator(again))
            .unwrap_err()
            .contains("allocator asked the host")
    );
    assert!(with("").unwrap_err().contains("exports no allocator"));
}
