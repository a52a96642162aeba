//! The host side of one exchange: maps, bodies, and what is visible in which phase.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Pairs;
use super::mesh::State;
use super::message::Message;
use crate::host::{Direction, Edit, ExchangeHost, HostError, LocalReply, Map};

/// What a filter does to an exchange.
pub(super) struct TestExchange {
    id: u64,
    mesh: Rc<State>,
    pub(super) halves: [RefCell<Half>; 2],
    pub(super) properties: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(super) reply: RefCell<Option<LocalReply>>,
    pub(super) reset: Cell<bool>,
    pub(super) failed: Cell<bool>,
    pub(super) cleared_route: Cell<u32>,
    /// In `on_log` all maps can be read again.
    pub(super) over: Cell<bool>,
}

/// A message on its way through the filter.
#[derive(Default)]
pub(super) struct Half {
    /// Here while the filter may see and change it.
    pub(super) headers: Option<Pairs>,
    pub(super) trailers: Option<Pairs>,
    /// Visible to the filter. Only in a body or trailers callback, or while it is held.
    pub(super) visible: Option<Vec<u8>>,
    /// Held, but not visible.
    pub(super) kept: Vec<u8>,
    /// Waits for `resume`.
    pub(super) held: bool,
    /// `resume` was called since the callback began.
    pub(super) resumed: bool,
    /// What has passed the filter.
    pub(super) passed: Message,
    pub(super) headers_passed: bool,
}

impl Half {
    /// Lets everything go on that is here.
    pub(super) fn pass(&mut self) {
        if let Some(headers) = self.headers.take() {
            self.passed.headers = headers;
            self.headers_passed = true;
        }
        self.passed.body.append(&mut self.kept);
        self.passed
            .body
            .append(&mut self.visible.take().unwrap_or_default());
        self.passed
            .trailers
            .append(&mut self.trailers.take().unwrap_or_default());
        self.held = false;
    }
}

impl TestExchange {
    pub(super) fn new(mesh: &Rc<State>, properties: Pairs) -> Self {
        mesh.exchanges.set(mesh.exchanges.get() + 1);
        Self {
            id: mesh.exchanges.get(),
            mesh: Rc::clone(mesh),
            halves: Default::default(),
            properties: RefCell::new(properties.into_iter().collect()),
            reply: RefCell::default(),
            reset: Cell::default(),
            failed: Cell::default(),
            cleared_route: Cell::default(),
            over: Cell::default(),
        }
    }

    pub(super) fn half(&self, direction: Direction) -> &RefCell<Half> {
        &self.halves[match direction {
            Direction::Request => 0,
            Direction::Response => 1,
        }]
    }

    fn read<T>(&self, map: Map, act: impl FnOnce(&Pairs) -> T) -> Result<T, HostError> {
        let (direction, is_headers) = place(map);
        let half = self.half(direction).borrow();
        let (here, passed) = match is_headers {
            true => (&half.headers, &half.passed.headers),
            false => (&half.trailers, &half.passed.trailers),
        };
        match here {
            Some(pairs) => Ok(act(pairs)),
            None if self.over.get() => Ok(act(passed)),
            None => Err(HostError::WrongPhase),
        }
    }

    /// Attributes that follow from the messages.
    fn derived(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = std::str::from_utf8(path).ok()?.replace('\0', ".");
        let field = |map, name: &str| {
            let mut value = Vec::new();
            self.header(map, name.as_bytes(), &mut value).ok().map(|()| value)
        };
        let target =
            || field(Map::RequestHeaders, ":path").map(|path| String::from_utf8_lossy(&path).into_owned());
        match path.as_str() {
            "request.path" => field(Map::RequestHeaders, ":path"),
            "request.url_path" => target().map(|path| path.split('?').next().unwrap_or_default().into()),
            "request.query" => target().map(|path| path.split_once('?').unwrap_or_default().1.into()),
            "request.host" => field(Map::RequestHeaders, ":authority"),
            "request.method" => field(Map::RequestHeaders, ":method"),
            "request.scheme" => field(Map::RequestHeaders, ":scheme"),
            "request.id" => field(Map::RequestHeaders, "x-request-id"),
            "request.useragent" => field(Map::RequestHeaders, "user-agent"),
            "request.protocol" => Some(b"HTTP/1.1".to_vec()),
            "response.code" => {
                let status = field(Map::ResponseHeaders, ":status")?;
                let status: i64 = std::str::from_utf8(&status).ok()?.parse().ok()?;
                Some(status.to_le_bytes().to_vec())
            }
            path => match (
                path.strip_prefix("request.headers."),
                path.strip_prefix("response.headers."),
            ) {
                (Some(name), _) => field(Map::RequestHeaders, name),
                (_, Some(name)) => field(Map::ResponseHeaders, name),
                (None, None) => None,
            },
        }
    }
}

/// The half and whether it is its headers.
fn place(map: Map) -> (Direction, bool) {
    match map {
        Map::RequestHeaders => (Direction::Request, true),
        Map::RequestTrailers => (Direction::Request, false),
        Map::ResponseHeaders => (Direction::Response, true),
        Map::ResponseTrailers => (Direction::Response, false),
    }
}

impl ExchangeHost for TestExchange {
    fn id(&self) -> u64 {
        self.id
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        let name = field_name(map, name);
        self.read(map, |pairs| {
            let (_, found) = pairs
                .iter()
                .find(|(field, _)| *field == name)
                .ok_or(HostError::NotFound)?;
            value.extend_from_slice(found);
            Ok(())
        })?
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        let pairs = self.read(map, Clone::clone)?;
        pairs.iter().for_each(|(name, value)| each(name, value));
        Ok(())
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        let (direction, is_headers) = place(map);
        let mut half = self.half(direction).borrow_mut();
        let pairs = if is_headers {
            &mut half.headers
        } else {
            &mut half.trailers
        };
        let pairs = pairs.as_mut().ok_or(HostError::WrongPhase)?;
        match edit {
            Edit::Append(name, value) => pairs.push((field_name(map, name), value.to_vec())),
            Edit::Set(name, value) => {
                let name = field_name(map, name);
                pairs.retain(|(field, _)| *field != name);
                pairs.push((name, value.to_vec()));
            }
            Edit::Remove(name) => {
                let name = field_name(map, name);
                pairs.retain(|(field, _)| *field != name);
            }
            Edit::Replace(fields) => {
                *pairs = fields
                    .iter()
                    .map(|(name, value)| (field_name(map, name), value.to_vec()))
                    .collect();
            }
        }
        // Pseudo headers form the first block; the sort is stable.
        pairs.sort_by_key(|(name, _)| !name.starts_with(b":"));
        Ok(())
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        let half = self.half(direction).borrow();
        half.visible.as_ref().map(Vec::len).ok_or(HostError::WrongPhase)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let half = self.half(direction).borrow();
        let visible = half.visible.as_ref().ok_or(HostError::WrongPhase)?;
        let start = start.min(visible.len());
        let end = start.saturating_add(len).min(visible.len());
        bytes.extend_from_slice(&visible[start..end]);
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let mut half = self.half(direction).borrow_mut();
        let visible = half.visible.as_mut().ok_or(HostError::WrongPhase)?;
        let start = start.min(visible.len());
        let end = start.saturating_add(len).min(visible.len());
        visible.splice(start..end, bytes.iter().copied());
        Ok(())
    }

    fn reply(&self, reply: LocalReply) {
        if !self.over.get() {
            self.reply.borrow_mut().get_or_insert(reply);
        }
    }

    fn resume(&self, direction: Direction) {
        let mut half = self.half(direction).borrow_mut();
        half.resumed = true;
        if half.held {
            half.pass();
        }
    }

    fn reset(&self) {
        self.reset.set(true);
    }

    fn clear_route_cache(&self) {
        self.cleared_route.set(self.cleared_route.get() + 1);
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        if matches!(
            path,
            b"request" | b"response" | b"source" | b"destination" | b"connection" | b"upstream"
        ) {
            return Err(HostError::Invalid);
        }
        let own = self.properties.borrow().get(path).cloned();
        let found = own
            .or_else(|| self.derived(path))
            .or_else(|| self.mesh.property(path));
        value.extend(found.ok_or(HostError::NotFound)?);
        Ok(())
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        self.properties.borrow_mut().insert(path.to_vec(), value.to_vec());
    }

    fn fail(&self) {
        self.failed.set(true);
    }
}

fn field_name(map: Map, name: &[u8]) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    if map == Map::RequestHeaders && name == b"host" {
        b":authority".to_vec()
    } else {
        name
    }
}
