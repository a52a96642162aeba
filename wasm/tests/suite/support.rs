//! A host in memory, and short ways to make guests.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use leno_sdk::host::{
    Call, CallId, Direction, Edit, ExchangeHost, HostError, LocalReply, LogLevel, Map, MetricId, MetricKind,
    PluginHost, QueueId,
};
use leno_sdk::plugin::Plugin;
use leno_wasm::{Engine, Limits, Module, PluginOptions, StartError, VmOptions, Worker};

pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A value and its version.
type Versioned = (Vec<u8>, u32);

pub(crate) const MEMORY: usize = 8 << 20;

/// One engine for all tests, with little memory and short deadlines.
pub(crate) fn engine() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let limits = Limits {
            memory: MEMORY,
            call: Duration::from_millis(400),
            instances: 64,
            ..Limits::default()
        };
        Engine::new(limits).unwrap()
    });
    ENGINE.clone()
}

pub(crate) fn compile(text: &str) -> Module {
    engine().compile(&wat::parse_str(text).unwrap()).unwrap()
}

/// The module of a crate in `guests`, built for `target`; cargo builds it once.
pub(crate) fn build(name: &str, target: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/guests")
        .join(name);
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            target,
            "--target-dir",
        ])
        .arg(&output)
        .current_dir(folder)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(
        status.success(),
        "{name} does not build; is the target there? `rustup target add {target}`"
    );
    std::fs::read(output.join(target).join(format!("release/{name}_guest.wasm"))).unwrap()
}

/// The plugin of a module, alone on its worker, with its host.
pub(crate) fn start(module: &Module, configuration: &str) -> Result<(Rc<dyn Plugin>, Rc<Host>), StartError> {
    let options = PluginOptions {
        configuration: configuration.into(),
        ..named("plugin")
    };
    start_with(module, &VmOptions::default(), &options)
}

pub(crate) fn start_with(
    module: &Module,
    vm: &VmOptions,
    options: &PluginOptions,
) -> Result<(Rc<dyn Plugin>, Rc<Host>), StartError> {
    let host = Rc::new(Host::default());
    let plugin = Worker::new(engine()).plugin(module, vm, options, Rc::<Host>::clone(&host))?;
    Ok((plugin, host))
}

pub(crate) fn named(name: &str) -> PluginOptions {
    PluginOptions {
        name: name.into(),
        ..PluginOptions::default()
    }
}

/// Records what a plugin asks for outside of exchanges.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) log: RefCell<Vec<String>>,
    pub(crate) tick: Cell<Duration>,
    pub(crate) calls: RefCell<Vec<Call>>,
    pub(crate) cancelled: RefCell<Vec<CallId>>,
    pub(crate) shared: RefCell<BTreeMap<Vec<u8>, Versioned>>,
    pub(crate) queue: RefCell<VecDeque<Vec<u8>>>,
    pub(crate) metrics: RefCell<Vec<(String, u64)>>,
    pub(crate) accounted: RefCell<Vec<&'static str>>,
}

impl Host {
    pub(crate) fn take_log(&self) -> Vec<String> {
        self.log.take()
    }
}

impl PluginHost for Host {
    fn log(&self, level: LogLevel, message: &[u8]) {
        self.log
            .borrow_mut()
            .push(format!("{level:?} {}", String::from_utf8_lossy(message)));
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Debug
    }

    fn now(&self) -> u64 {
        1_700_000_000_000_000_000
    }

    fn set_tick_period(&self, period: Duration) {
        self.tick.set(period);
    }

    fn call(&self, call: Call) -> Result<CallId, HostError> {
        if call.cluster == "nobody" {
            return Err(HostError::Invalid);
        }
        let mut calls = self.calls.borrow_mut();
        calls.push(call);
        Ok(CallId(calls.len() as u32))
    }

    fn cancel_call(&self, call: CallId) {
        self.cancelled.borrow_mut().push(call);
    }

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let shared = self.shared.borrow();
        let (found, version) = shared.get(key).ok_or(HostError::NotFound)?;
        value.extend_from_slice(found);
        Ok(*version)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        let mut shared = self.shared.borrow_mut();
        let (found, version) = shared.entry(key.to_vec()).or_default();
        if *version != 0 && expected.is_some_and(|expected| expected != *version) {
            return Err(HostError::Conflict);
        }
        *found = value.to_vec();
        *version += 1;
        Ok(())
    }

    fn queue_register(&self, _name: &[u8]) -> QueueId {
        QueueId(7)
    }

    fn queue_resolve(&self, _name_space: &[u8], _name: &[u8]) -> Result<QueueId, HostError> {
        Err(HostError::NotFound)
    }

    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        if queue != QueueId(7) {
            return Err(HostError::NotFound);
        }
        self.queue.borrow_mut().push_back(entry.to_vec());
        Ok(())
    }

    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        if queue != QueueId(7) {
            return Err(HostError::NotFound);
        }
        let first = self.queue.borrow_mut().pop_front().ok_or(HostError::Empty)?;
        entry.extend_from_slice(&first);
        Ok(())
    }

    fn metric_define(&self, _kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        if name == "refused" {
            return Err(HostError::Limit);
        }
        let mut metrics = self.metrics.borrow_mut();
        metrics.push((name.into(), 0));
        Ok(MetricId(metrics.len() as u32 - 1))
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        let by = u64::try_from(by).map_err(|_| HostError::Invalid)?;
        self.metrics.borrow_mut()[metric.0 as usize].1 += by;
        Ok(())
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        self.metrics.borrow_mut()[metric.0 as usize].1 = value;
        Ok(())
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        Ok(self.metrics.borrow()[metric.0 as usize].1)
    }

    fn property(&self, _path: &[u8], _value: &mut Vec<u8>) -> Result<(), HostError> {
        Err(HostError::NotFound)
    }

    fn account(&self, callback: &'static str, _took: Duration) {
        self.accounted.borrow_mut().push(callback);
    }
}

/// One exchange: maps and bodies that are `None` are in another phase.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) maps: RefCell<[Option<Fields>; 4]>,
    pub(crate) bodies: RefCell<[Option<Vec<u8>>; 2]>,
    pub(crate) replies: RefCell<Vec<LocalReply>>,
    pub(crate) resumed: RefCell<Vec<Direction>>,
    pub(crate) reset: Cell<bool>,
    pub(crate) route_cleared: Cell<bool>,
    pub(crate) failed: Cell<bool>,
    pub(crate) properties: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Recorded {
    /// In the phase of request headers.
    pub(crate) fn get(path: &str) -> Rc<Self> {
        let this = Self::default();
        this.maps.borrow_mut()[0] = Some(fields(&[
            (":method", "GET"),
            (":path", path),
            (":authority", "example.test"),
            ("x-secret", "s"),
        ]));
        this.properties
            .borrow_mut()
            .insert(b"request\0id".to_vec(), b"id-1".to_vec());
        Rc::new(this)
    }

    pub(crate) fn field(&self, map: Map, name: &str) -> Option<String> {
        let mut value = Vec::new();
        self.header(map, name.as_bytes(), &mut value).ok()?;
        Some(String::from_utf8(value).unwrap())
    }
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn index(map: Map) -> usize {
    match map {
        Map::RequestHeaders => 0,
        Map::RequestTrailers => 1,
        Map::ResponseHeaders => 2,
        Map::ResponseTrailers => 3,
    }
}

fn half(direction: Direction) -> usize {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}

impl ExchangeHost for Recorded {
    fn id(&self) -> u64 {
        1
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        let maps = self.maps.borrow();
        let fields = maps[index(map)].as_ref().ok_or(HostError::WrongPhase)?;
        let (_, found) = fields
            .iter()
            .find(|(known, _)| known == name)
            .ok_or(HostError::NotFound)?;
        value.extend_from_slice(found);
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        let maps = self.maps.borrow();
        let fields = maps[index(map)].as_ref().ok_or(HostError::WrongPhase)?;
        fields.iter().for_each(|(name, value)| each(name, value));
        Ok(())
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        let mut maps = self.maps.borrow_mut();
        let fields = maps[index(map)].as_mut().ok_or(HostError::WrongPhase)?;
        match edit {
            Edit::Append(name, value) => fields.push((name.to_vec(), value.to_vec())),
            Edit::Set(name, value) => {
                fields.retain(|(known, _)| known != name);
                fields.push((name.to_vec(), value.to_vec()));
            }
            Edit::Remove(name) => fields.retain(|(known, _)| known != name),
            Edit::Replace(all) => {
                *fields = all
                    .iter()
                    .map(|(name, value)| (name.to_vec(), value.to_vec()))
                    .collect();
            }
        }
        Ok(())
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        self.bodies.borrow()[half(direction)]
            .as_ref()
            .map(Vec::len)
            .ok_or(HostError::WrongPhase)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let bodies = self.bodies.borrow();
        let body = bodies[half(direction)].as_ref().ok_or(HostError::WrongPhase)?;
        let start = start.min(body.len());
        bytes.extend_from_slice(&body[start..start.saturating_add(len).min(body.len())]);
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let mut bodies = self.bodies.borrow_mut();
        let body = bodies[half(direction)].as_mut().ok_or(HostError::WrongPhase)?;
        let start = start.min(body.len());
        let end = start.saturating_add(len).min(body.len());
        body.splice(start..end, bytes.iter().copied());
        Ok(())
    }

    fn reply(&self, reply: LocalReply) {
        self.replies.borrow_mut().push(reply);
    }

    fn resume(&self, direction: Direction) {
        self.resumed.borrow_mut().push(direction);
    }

    fn reset(&self) {
        self.reset.set(true);
    }

    fn clear_route_cache(&self) {
        self.route_cleared.set(true);
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        let properties = self.properties.borrow();
        value.extend_from_slice(properties.get(path).ok_or(HostError::NotFound)?);
        Ok(())
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        self.properties.borrow_mut().insert(path.to_vec(), value.to_vec());
    }

    fn fail(&self) {
        self.failed.set(true);
    }
}

/// A Proxy-Wasm 0.2.1 module in text: the given items with memory, an allocator, and `$say`, which logs a text that
/// stands in memory. Imports of the given functions come first, as they must.
pub(crate) fn guest(imports: &str, items: &str) -> String {
    format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        {imports}
        (memory (export "memory") 2)
        (global $heap (mut i32) (i32.const 65536))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param $size i32) (result i32)
          (global.get $heap)
          (global.set $heap (i32.add (global.get $heap) (local.get $size))))
        (func $say (param $at i32) (param $size i32)
          (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))
        {items})"#
    )
}
