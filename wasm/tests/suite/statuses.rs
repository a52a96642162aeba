//! The status of every host call, where SDKs take no other: a table of calls and what they answer.

use leno_sdk::host::Map;

use crate::support::{Recorded, compile, fields, guest, start};

const IMPORTS: &str = r#"
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_size" (func $size (param i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_status" (func $status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set_bytes (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_done" (func $done (result i32)))
    (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
    (import "env" "proxy_grpc_stream" (func $grpc_stream
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data" (func $shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $push (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $pop (param i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (import "env" "proxy_get_metric" (func $metric (param i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $foreign
      (param i32 i32 i32 i32 i32 i32) (result i32)))
"#;

/// At 1024 "x-a" stands, at 1040 "refused", at 1056 "clear_route_cache", at 1088 "plugin_name"; at 2048 and 2052 there is
/// room for answers, at 3000 pairs whose sizes lie.
const DATA: &str = r#"
    (data (i32.const 1024) "x-a") (data (i32.const 1040) "refused")
    (data (i32.const 1056) "clear_route_cache") (data (i32.const 1088) "plugin_name")
    (data (i32.const 3000) "\01\00\00\00\ff\00\00\00\00\00\00\00a\00\00")
"#;

/// Calls, in order, from the request headers callback of an exchange that is in that phase.
const TABLE: &[(&str, u32)] = &[
    // A header that is not there; one of another phase; a map that does not exist.
    ("(call $get (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 1),
    ("(call $get (i32.const 2) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 2),
    ("(call $get (i32.const 6) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 2),
    ("(call $get (i32.const 9) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 2),
    // Pairs of another phase are none.
    ("(call $pairs (i32.const 2) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.load (i32.const 2052))", 0),
    ("(call $pairs (i32.const 0) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.load (i32.load (i32.const 2048)))", 4),
    ("(call $set_pairs (i32.const 0) (i32.const 3000) (i32.const 15))", 0),
    ("(call $add (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 1040) (i32.const 0))", 0),
    ("(call $get (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.add (i32.load (i32.const 2048)) (i32.load (i32.const 2052)))", 0),
    ("(call $add (i32.const 2) (i32.const 1024) (i32.const 3) (i32.const 1040) (i32.const 0))", 2),
    ("(call $remove (i32.const 0) (i32.const 1040) (i32.const 7))", 0),
    ("(call $size (i32.const 0) (i32.const 2048))", 0),
    ("(i32.load (i32.const 2048))", 50),
    ("(call $size (i32.const 3) (i32.const 2048))", 2),
    // Addresses beyond the memory.
    ("(call $get (i32.const 0) (i32.const -4) (i32.const 8) (i32.const 2048) (i32.const 2052))", 6),
    ("(call $size (i32.const 0) (i32.const 131070))", 6),
    // Bodies, configurations, and buffers of other kinds of filters.
    ("(call $bytes (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 2048) (i32.const 2052))", 1),
    ("(call $bytes (i32.const 2) (i32.const 0) (i32.const 9) (i32.const 2048) (i32.const 2052))", 1),
    ("(call $bytes (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 2048) (i32.const 2052))", 2),
    ("(call $bytes (i32.const 7) (i32.const 2) (i32.const -1) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.load (i32.const 2052))", 3),
    ("(call $bytes (i32.const 7) (i32.const 99) (i32.const 9) (i32.const 2048) (i32.const 2052))", 0),
    ("(call $status (i32.const 7) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.load (i32.const 2048))", 5),
    ("(call $set_bytes (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 3))", 2),
    ("(call $set_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 3))", 1),
    // Flow.
    ("(call $continue (i32.const 0))", 0),
    ("(call $continue (i32.const 2))", 0),
    ("(call $continue (i32.const 3))", 12),
    ("(call $continue (i32.const 4))", 2),
    ("(call $close (i32.const 4))", 2),
    ("(call $done)", 1),
    ("(call $effective (i32.const 77))", 2),
    ("(call $effective (i32.const 1))", 0),
    ("(call $get (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 2),
    ("(call $effective (i32.const 0))", 0),
    ("(call $get (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 0),
    // gRPC is not offered.
    ("(call $grpc_stream (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 2048))", 10),
    ("(call $grpc_cancel (i32.const 5))", 1),
    // Shared values and queues.
    ("(call $shared (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052) (i32.const 2056))", 1),
    ("(call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 9))", 0),
    ("(call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 9))", 8),
    ("(call $shared (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052) (i32.const 2056))", 0),
    ("(i32.load (i32.const 2056))", 1),
    ("(call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 1))", 0),
    ("(call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 0))", 0),
    ("(call $resolve (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048))", 1),
    ("(call $push (i32.const 8) (i32.const 1024) (i32.const 3))", 1),
    ("(call $push (i32.const 7) (i32.const 1024) (i32.const 3))", 0),
    ("(call $pop (i32.const 7) (i32.const 2048) (i32.const 2052))", 0),
    ("(call $pop (i32.const 7) (i32.const 2048) (i32.const 2052))", 7),
    ("(call $pop (i32.const 8) (i32.const 2048) (i32.const 2052))", 1),
    // Metrics; one that the host refuses takes values all the same.
    ("(call $define (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 2048))", 2),
    ("(call $define (i32.const 1) (i32.const 1024) (i32.const 3) (i32.const 2048))", 0),
    ("(i32.load (i32.const 2048))", 5),
    ("(call $increment (i32.const 5) (i64.const 3))", 0),
    ("(call $increment (i32.const 5) (i64.const -3))", 2),
    ("(call $increment (i32.const 9) (i64.const 3))", 1),
    ("(call $record (i32.const 7) (i64.const 3))", 2),
    ("(call $record (i32.const 4) (i64.const 3))", 1),
    ("(call $metric (i32.const 5) (i32.const 2048))", 0),
    ("(i32.load (i32.const 2048))", 3),
    ("(call $define (i32.const 0) (i32.const 1040) (i32.const 7) (i32.const 2048))", 0),
    ("(call $increment (i32.load (i32.const 2048)) (i64.const 3))", 0),
    // Attributes and foreign functions.
    ("(call $property (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))", 1),
    ("(call $property (i32.const 1088) (i32.const 12) (i32.const 2048) (i32.const 2052))", 0),
    ("(i32.load (i32.const 2052))", 6),
    ("(call $foreign (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 2048) (i32.const 2052))", 1),
    ("(call $foreign (i32.const 1056) (i32.const 17) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))", 0),
];

#[test]
fn answers_every_call_with_a_status_that_sdks_take() {
    let mut calls = String::new();
    for (expression, _) in TABLE {
        calls.push_str(&format!("(call $report {expression})\n"));
    }
    let items = format!(
        r#"{DATA}
        (func $report (param $status i32)
          (i32.store8 (i32.const 16) (i32.add (i32.const 48) (i32.div_u (local.get $status) (i32.const 10))))
          (i32.store8 (i32.const 17) (i32.add (i32.const 48) (i32.rem_u (local.get $status) (i32.const 10))))
          (call $say (i32.const 16) (i32.const 2)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          {calls}
          (i32.const 0))"#
    );
    let (plugin, host) = start(&compile(&guest(IMPORTS, &items)), "hello").unwrap();
    let recorded = Recorded::get("/");
    let mut exchange = plugin.exchange(recorded.clone()).unwrap();
    exchange.on_request_headers(4, true).unwrap();
    let log = host.take_log();
    let numbers: Vec<u32> = log
        .iter()
        .filter_map(|line| line.strip_prefix("Info ")?.parse().ok())
        .collect();
    assert_eq!(numbers.len(), TABLE.len());
    for ((call, expected), status) in TABLE.iter().zip(numbers) {
        assert_eq!(status, *expected, "{call}");
    }
    assert!(recorded.route_cleared.get());
    assert_eq!(
        recorded.field(Map::RequestHeaders, "x-a").as_deref(),
        Some(""),
        "malformed pairs keep the map"
    );
    assert_eq!(log.iter().filter(|line| line.contains("gRPC")).count(), 1);
    assert_eq!(
        log.iter()
            .filter(|line| line.contains("metric refused is not kept"))
            .count(),
        1
    );
    assert_eq!(
        log.iter().filter(|line| line.contains("malformed pairs")).count(),
        1
    );
}

#[test]
fn a_missing_header_is_empty_for_0_1_0() {
    let text = guest(
        IMPORTS,
        &format!(
            r#"{DATA}
            (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
              (i32.store8 (i32.const 16) (i32.add (i32.const 48)
                (call $get (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 2052))))
              (call $say (i32.const 16) (i32.const 1))
              (i32.const 0))"#
        ),
    )
    .replace("proxy_abi_version_0_2_1", "proxy_abi_version_0_1_0");
    let (plugin, host) = start(&compile(&text), "").unwrap();
    let mut exchange = plugin.exchange(Recorded::get("/")).unwrap();
    exchange.on_request_headers(4, true).unwrap();
    assert_eq!(host.take_log(), ["Info 0"]);
}

#[test]
fn reads_and_replaces_ranges_of_a_body() {
    let text = guest(
        IMPORTS,
        &format!(
            r#"{DATA}
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
              (drop (call $bytes (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 2048) (i32.const 2052)))
              (call $say (i32.load (i32.const 2048)) (i32.load (i32.const 2052)))
              (drop (call $set_bytes (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 1024) (i32.const 3)))
              (drop (call $set_bytes (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 1024) (i32.const 3)))
              (i32.const 2))"#
        ),
    );
    let (plugin, host) = start(&compile(&text), "").unwrap();
    let recorded = Recorded::get("/");
    recorded.bodies.borrow_mut()[0] = Some(b"0123456789".to_vec());
    recorded.maps.borrow_mut()[0] = Some(fields(&[]));
    let mut exchange = plugin.exchange(recorded.clone()).unwrap();
    let verdict = exchange.on_request_body(10, true).unwrap();
    assert_eq!(verdict, leno_sdk::plugin::BodyVerdict::Watermark);
    assert_eq!(host.take_log(), ["Info 123"]);
    assert_eq!(
        recorded.bodies.borrow()[0].as_deref(),
        Some(b"x-a23456789x-a".as_slice())
    );
}
