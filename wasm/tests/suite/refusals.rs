//! Wrong files: each is refused with a text that says what it is and what to do.

use leno_wasm::{Abi, Import, ModuleError, ProxyWasmVersion, inspect};

use crate::support::{MEMORY, engine, guest};

fn check(bytes: &[u8], expected: &str) {
    let error = inspect(bytes).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(expected), "expected `{expected}` in `{text}`");
    assert_eq!(engine().compile(bytes).unwrap_err(), error);
}

fn check_text(text: &str, expected: &str) {
    check(&wat::parse_str(text).unwrap(), expected);
}

#[test]
fn says_what_a_file_looks_like_that_is_no_module() {
    check(b"", "an empty file");
    check(b"<!DOCTYPE html><html><body>Sign in", "an HTML page");
    check(b"\x1f\x8b\x08\0\0\0", "gzip data");
    check(b"\x7fELF\x02\x01", "an ELF program");
    check(b"PK\x03\x04", "a zip archive");
    check(b"{\"errors\":[]}", "JSON");
    check(b"(module)", "WebAssembly text");
    check(b"404 page not found\n", "text: \"404 page not found\"");
    check(
        b"\xff\xfe\0\x01",
        "unknown data that begins with [ff, fe, 00, 01]",
    );
}

#[test]
fn says_that_a_module_is_cut_off_wherever_that_is() {
    let whole = wat::parse_str(guest("", "")).unwrap();
    let mut taken = 0;
    for end in 8..whole.len() - 1 {
        match inspect(&whole[..end]) {
            // The last section holds names, and a module without it is whole.
            Ok(_) => taken += 1,
            Err(ModuleError::Truncated { size }) => assert_eq!(size, end),
            // A cut between two sections leaves a smaller module.
            Err(ModuleError::NoAbi { .. } | ModuleError::Malformed { .. }) => {}
            Err(error) => panic!("cut at {end}: {error}"),
        }
    }
    assert_eq!(taken, 1);
    check(&whole[..whole.len() / 2], "cut off after");
    check(b"\0asm\x01", "cut off after 5 bytes");
}

#[test]
fn refuses_bytes_that_are_no_valid_code() {
    let mut bytes = wat::parse_str(guest("", "(func (export \"f\") (result i32) (i32.const 7))")).unwrap();
    let constant = bytes
        .windows(3)
        .position(|window| window == [0x41, 7, 0x0b])
        .unwrap();
    bytes[constant] = 0x42;
    check(&bytes, "not valid: type mismatch");
}

#[test]
fn lists_exports_when_none_names_an_abi() {
    check_text("(module)", "it exports nothing");
    check_text(
        r#"(module (func (export "_start")))"#,
        "it exports _start. Build filters with `leno build`",
    );
}

#[test]
fn names_an_abi_that_is_not_known() {
    check_text(
        r#"(module (func (export "proxy_abi_version_0_2_100")))"#,
        "unknown ABI `proxy_abi_version_0_2_100`",
    );
}

#[test]
fn lists_every_import_that_nobody_offers() {
    let imports = r#"(import "env" "ping" (func)) (import "wasi_snapshot_preview1" "sock_accept" (func))"#;
    check_text(
        &guest(imports, ""),
        "env.ping, wasi_snapshot_preview1.sock_accept",
    );
}

#[test]
fn refuses_more_memory_than_a_guest_may_have() {
    let bytes = wat::parse_str(
        r#"(module (memory (export "memory") 4096) (func (export "proxy_abi_version_0_2_1")))"#,
    )
    .unwrap();
    let error = engine().compile(&bytes).unwrap_err();
    assert_eq!(
        error,
        ModuleError::Memory {
            needed: 4096 << 16,
            limit: MEMORY
        }
    );
}

#[test]
fn refuses_proposals_and_signatures_that_do_not_fit() {
    check_text(
        r#"(module (memory i64 1) (func (export "proxy_abi_version_0_2_1")))"#,
        "needs what this engine does not offer",
    );
    let wrong = r#"(module (import "env" "proxy_log" (func)) (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1")))"#;
    let error = engine().compile(&wat::parse_str(wrong).unwrap()).unwrap_err();
    assert!(error.to_string().contains("proxy_log"), "{error}");
}

#[test]
fn refuses_components_that_are_no_filters() {
    check_text(
        "(component)",
        "does not export `leno:filter/plugin@0.1.0`; it exports nothing",
    );
    check_text(
        r#"(component
            (import "wasi:cli/environment@0.2.6" (instance $environment))
            (export "leno:filter/plugin@0.1.0" (instance $environment)))"#,
        "wasi:cli/environment@0.2.6. A component that was built for wasm32-wasip2",
    );
}

#[test]
fn reads_what_a_module_is() {
    let text = guest(
        "",
        r#"(func (export "proxy_on_tick") (param i32)) (@custom "note" "x")"#,
    );
    let found = inspect(&wat::parse_str(text).unwrap()).unwrap();
    assert_eq!(found.abi, Abi::ProxyWasm(ProxyWasmVersion::V0_2_1));
    assert_eq!(found.abi.to_string(), "proxy-wasm 0.2.1");
    assert_eq!(
        found.imports,
        [Import {
            module: "env".into(),
            name: "proxy_log".into()
        }]
    );
    assert_eq!(
        found.exports,
        ["proxy_abi_version_0_2_1", "malloc", "proxy_on_tick"]
    );
    assert_eq!(found.memory, Some((2 << 16, None)));
    assert!(found.custom_sections.contains(&"note".to_owned()));
}
