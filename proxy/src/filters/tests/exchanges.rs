//! Exchanges for the tests of filters.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use leno_sdk::host::Direction;

use crate::chain::{Chain, Step};
use crate::exchange::ExchangeState;
use crate::exchange::facts::{Connection, Facts};
use crate::filters::slot::FilterSlot;
use crate::http::headers::Headers;
use crate::http::message::Protocol;

/// Begins an exchange with one more field in its request.
pub(super) fn begin(slot: &Rc<FilterSlot>, field: &str) -> (Rc<ExchangeState>, Chain, Step) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let connection = Connection {
        id: 1,
        source: address,
        destination: address,
        server_name: String::new(),
        tls: None,
        listener: Arc::default(),
        node: Arc::default(),
    };
    let headers: Headers = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "web"),
        (":scheme", "http"),
        (field, ""),
    ]
    .into_iter()
    .collect();
    let facts = Facts::new(Protocol::Http11, SystemTime::now(), Instant::now());
    let state = ExchangeState::new(Rc::new(connection), headers, facts);
    let chain = Chain::begin(std::slice::from_ref(slot), state.clone(), 1000);
    let step = chain.request_headers(true);
    (state, chain, step)
}

/// The status that the exchange was answered with by the chain; `None` if its request passes.
pub(super) fn answered(chain: &Chain, step: Step) -> Option<Vec<u8>> {
    match step {
        Step::Forward(flow) => {
            assert!(flow.ends_with_headers());
            None
        }
        Step::Replied => match chain.resumed(Direction::Response) {
            Step::Forward(_) => chain
                .state()
                .headers(Direction::Response)
                .get(b":status")
                .map(<[u8]>::to_vec),
            other => panic!("an answer, not {other:?}"),
        },
        other => panic!("a request that passes or an answer, not {other:?}"),
    }
}
