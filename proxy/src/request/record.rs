//! The end of an exchange, and what access log lines and header edits may tell about it.

use leno_model::access_log::Format;
use leno_sdk::host::Direction;

use super::{Ending, Story};
use crate::access_log::exchange_record::{ExchangeRecord, Timing, UpstreamRecord};
use crate::http::headers::Headers;
use crate::reply::{Flags, Reason, Reply};
use crate::router::RouteRef;

impl Story {
    /// The exchange is over: statistics, filters' logs, access log; then the filters go.
    pub(super) fn finish(self, ending: &Ending) {
        let duration = self.state.facts().start.elapsed();
        self.state.facts_mut().duration = Some(duration);
        if let Ending::Gone(error) = ending {
            tracing::debug!(exchange = self.state.id(), %error, "the downstream has gone");
            self.note(&Reply::to(&Reason::DownstreamGone));
        }
        self.chain.log();
        self.http.stats.end(self.state.facts().response_code, duration);
        if !self.http.logger.is_empty() {
            self.with_record(None, &mut |record| self.http.logger.log(record));
        }
        self.chain.finish();
    }

    /// For the log, beside what is there already.
    pub(super) fn note(&self, reply: &Reply) {
        self.flag(reply.flags);
        let mut facts = self.state.facts_mut();
        facts.response_details = reply.details.clone();
    }

    pub(super) fn flag(&self, flags: Flags) {
        self.state.facts_mut().response_flags |= u64::from(flags.bits());
    }

    /// Shows the exchange as it is now. `headers` stand in for the messages' own while those are being edited.
    pub(super) fn with_record(
        &self,
        editing: Option<(Direction, &Headers)>,
        read: &mut dyn FnMut(&ExchangeRecord<'_>),
    ) {
        let state = &self.state;
        let facts = state.facts();
        let connection = state.connection();
        let (own_request, own_response);
        let request = if let Some((Direction::Request, headers)) = editing {
            headers
        } else {
            own_request = state.headers(Direction::Request);
            &own_request
        };
        let response = match editing {
            Some((Direction::Response, headers)) => Some(headers),
            Some((Direction::Request, _)) => None,
            None => {
                own_response = state.headers(Direction::Response);
                (!own_response.is_empty()).then_some(&*own_response)
            }
        };
        let trailers = state.trailers(Direction::Response);
        let peers = [facts.client.unwrap_or(connection.source), connection.destination];
        let mut record = ExchangeRecord::new(request, facts.protocol, facts.started, peers);
        record.response = response;
        record.trailers = trailers.as_ref();
        record.status = facts.response_code.unwrap_or(0);
        record.details = &facts.response_details;
        record.flags = Flags::from_bits(u32::try_from(facts.response_flags).unwrap_or(0));
        record.bytes_received = facts.request_body_bytes;
        record.bytes_sent = facts.response_body_bytes;
        record.attempts = facts.attempts;
        let since =
            |moment: Option<std::time::Instant>| moment.map(|moment| moment.duration_since(facts.start));
        record.timing = Timing {
            request_end: self.deadlines.request_end(),
            request_sent: since(self.request_sent.get()),
            response_begin: since(self.response_begin.get()),
            end: facts.duration,
        };
        record.route = facts.route.as_deref().unwrap_or("");
        record.virtual_host = facts.virtual_host.as_deref().unwrap_or("");
        record.cluster = facts.cluster.as_deref().unwrap_or("");
        record.upstream = facts.upstream.as_ref().map(|upstream| UpstreamRecord {
            address: upstream.address,
            hostname: "",
            local: upstream.local_address,
            protocol: self.upstream_protocol.get(),
            transport_failure: &upstream.transport_failure,
        });
        record.direct_remote = connection.source;
        record.connection_id = connection.id;
        record.exchange_id = state.id();
        record.server_name = &connection.server_name;
        record.filter_chain = &connection.listener.filter_chain;
        record.tls = connection.tls.as_deref();
        read(&record);
    }

    /// Path, authority and fields, as the route says.
    pub(super) fn rewrite_request(&self, route: &RouteRef) {
        if !route.rewrites_request() {
            return;
        }
        // Taken out meanwhile, because format strings look at the exchange too.
        let mut headers = std::mem::take(&mut *self.state.headers_mut(Direction::Request));
        route.rewrite_request(&mut headers, &mut |format, current, out| {
            self.evaluate(format, (Direction::Request, current), out);
        });
        *self.state.headers_mut(Direction::Request) = headers;
    }

    /// Fields of a response, as the route says.
    pub(super) fn edit_response(&self, route: &RouteRef, headers: &mut Headers) {
        route.edit_response(headers, &mut |format, current, out| {
            self.evaluate(format, (Direction::Response, current), out);
        });
    }

    /// An answer of the proxy, with the edits of its route.
    pub(super) fn with_route_edits(&self, route: &RouteRef, mut reply: Reply) -> Reply {
        let mut headers: Headers = reply
            .headers
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        self.edit_response(route, &mut headers);
        let copied = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
        reply.headers = headers
            .fields()
            .map(|(name, value)| (copied(name), copied(value)))
            .collect();
        reply
    }

    fn evaluate(&self, format: &Format, editing: (Direction, &Headers), out: &mut Vec<u8>) {
        self.with_record(Some(editing), &mut |record| {
            self.http.templates.write(format, record, out)
        });
    }
}
