//! What a filter may do to an exchange.

use super::ExchangeRef;
use super::bindings::leno::filter::{flow, http, properties, types};
use super::convert::{direction_of, error, fields, give, map_of, unpack};
use crate::host::{Direction, Edit, ExchangeHost, HostError, LocalReply, Map};

impl ExchangeHost for ExchangeRef {
    fn id(&self) -> u64 {
        self.id
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        give(value, http::header(self.id, map_of(map), name).map_err(error)?);
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        unpack(&http::headers(self.id, map_of(map)).map_err(error)?, each);
        Ok(())
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        let field = |name: &[u8], value: &[u8]| types::Field {
            name: name.to_vec(),
            value: value.to_vec(),
        };
        let edit = match edit {
            Edit::Append(name, value) => types::Edit::Append(field(name, value)),
            Edit::Set(name, value) => types::Edit::Set(field(name, value)),
            Edit::Remove(name) => types::Edit::Remove(name.to_vec()),
            Edit::Replace(all) => {
                types::Edit::Replace(all.iter().map(|(name, value)| field(name, value)).collect())
            }
        };
        http::edit(self.id, map_of(map), &[edit]).map_err(error)
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        http::body_len(self.id, direction_of(direction))
            .map(|size| size as usize)
            .map_err(error)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let (start, len) = (start as u32, len as u32);
        give(
            bytes,
            http::body_read(self.id, direction_of(direction), start, len).map_err(error)?,
        );
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let (start, len) = (start as u32, len as u32);
        http::body_splice(self.id, direction_of(direction), start, len, bytes).map_err(error)
    }

    fn reply(&self, reply: LocalReply) {
        let reply = types::LocalReply {
            status: reply.status,
            headers: fields(reply.headers),
            body: reply.body,
            grpc_status: reply.grpc_status,
            details: reply.details,
        };
        http::reply(self.id, &reply);
    }

    fn resume(&self, direction: Direction) {
        flow::resume(self.id, direction_of(direction));
    }

    fn reset(&self) {
        flow::reset(self.id);
    }

    fn clear_route_cache(&self) {
        flow::clear_route_cache(self.id);
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        give(value, properties::get(self.id, path).map_err(error)?);
        Ok(())
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        properties::set(self.id, path, value);
    }

    fn fail(&self) {
        // For adapters, which are on the other side.
    }
}
