//! One source, built for both ABIs with `leno_sdk`, behaves the same on both sides of this crate.

use std::rc::Rc;
use std::time::Duration;

use leno_sdk::testing::{Mesh, Running, get, post, response};
use leno_wasm::{Abi, Module, PluginOptions, ProxyWasmVersion, VmOptions, Worker};

use crate::support::{build, engine, named};

const CONFIGURATION: &str = r#"{"greeting": "hello"}"#;

fn modules() -> [Module; 2] {
    let core = build("both", "wasm32-unknown-unknown");
    let mut encoder = wit_component::ComponentEncoder::default().module(&core).unwrap();
    let component = engine().compile(&encoder.encode().unwrap()).unwrap();
    let proxy_wasm = engine().compile(&build("both", "wasm32-wasip1")).unwrap();
    assert_eq!(component.abi(), Abi::Component);
    assert_eq!(proxy_wasm.abi(), Abi::ProxyWasm(ProxyWasmVersion::V0_2_1));
    [component, proxy_wasm]
}

fn start(module: &Module, configuration: &str) -> Result<Running, String> {
    let options = PluginOptions {
        configuration: configuration.into(),
        ..named("both")
    };
    let guests = Worker::new(engine());
    Mesh::new().worker().start(|host| {
        guests
            .plugin(module, &VmOptions::default(), &options, host)
            .map_err(|error| error.to_string())
    })
}

/// Everything in one test: building and compiling is what takes time.
#[test]
fn a_filter_behaves_the_same_as_a_component_and_as_a_proxy_wasm_module() {
    for module in modules() {
        let refused = start(&module, r#"{"greeting": ""}"#).err().unwrap();
        assert!(
            refused.contains("greeting") && refused.contains("must not be empty"),
            "{refused}"
        );

        let running = start(&module, CONFIGURATION).unwrap();
        let outcome = running.run(get("/a"));
        outcome
            .assert_status(200)
            .assert_upstream_header("x-greeting", "hello")
            .assert_header("x-callbacks", "2");
        running
            .run(get("/no"))
            .assert_reply(403)
            .assert_header("x-why", "because")
            .assert_body("no");
        running
            .run(post("/b", "some text"))
            .assert_upstream_body("SOME TEXT");
        assert_eq!(running.mesh().metric("seen"), Some(3));
        assert_eq!(running.mesh().shared("last").as_deref(), Some(b"/b".as_slice()));

        let mut waiting = running.begin(get("/ask"));
        assert!(waiting.is_held());
        assert_eq!(running.answer(response(200).chunk("42")).cluster, "oracle");
        assert!(!waiting.is_held());
        waiting.finish().assert_upstream_header("x-oracle", "42");

        running.mesh().take_logs();
        running.advance(Duration::from_secs(1));
        let logs: Vec<_> = running
            .mesh()
            .take_logs()
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        assert_eq!(logs, ["tick"]);
        running.run(get("/c")).assert_status(200);
        assert!(running.mesh().logs().iter().any(|(_, line)| line == "/c after 2"));
        assert!(!running.plugin().is_broken());
    }
}

#[test]
fn a_panic_reaches_the_log_and_breaks_the_guest() {
    for module in modules() {
        let running = start(&module, CONFIGURATION).unwrap();
        let recorded = crate::support::Recorded::get("/panic");
        let mut exchange = running.plugin().exchange(Rc::clone(&recorded) as Rc<_>).unwrap();
        exchange.on_request_headers(4, true).unwrap_err();
        assert!(running.plugin().is_broken());
        let logs = running.mesh().logs();
        assert!(
            logs.iter().any(|(_, line)| line.contains("on purpose")),
            "{logs:?}"
        );
    }
}
