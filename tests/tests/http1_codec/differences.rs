//! Where our codec and hyper differ, and why that is right. Every row is shown by a case; a row that none shows fails.

use leno_tests::http1::Role;

/// An accepted difference.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Of requests, or else of responses.
    pub(crate) requests: bool,
    /// What we do that hyper does not: `refuses REASON` where hyper gives a message, `closes` where hyper reads on,
    /// `accepts: ERROR` where hyper refuses.
    pub(crate) found: &'static str,
    /// Where it is written.
    pub(crate) section: &'static str,
    /// Why ours is right.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const ACCEPTED: &[Difference] = &[
    Difference {
        requests: true,
        found: "refuses RequestLine",
        section: "RFC 9112 §2.2",
        reason: "only one CR LF is forgiven before a request line, and no LF alone; hyper skips any number of either",
    },
    Difference {
        requests: true,
        found: "refuses LineEnd",
        section: "RFC 9112 §2.2",
        reason: "a line ends in CR LF; who takes LF alone and who does not see different fields in the same bytes",
    },
    Difference {
        requests: true,
        found: "refuses LineEnd, silently",
        section: "RFC 9112 §2.2",
        reason: "two empty lines and no more: hyper skips them, we say what is wrong",
    },
    Difference {
        requests: true,
        found: "refuses RequestLine, silently",
        section: "RFC 9112 §2.2",
        reason: "LF alone and no more: hyper skips it, we say what is wrong",
    },
    Difference {
        requests: true,
        found: "waits, silently",
        section: "RFC 9112 §2.2",
        reason: "a second empty line without its LF: hyper skips it, we wait for what it will be",
    },
    Difference {
        requests: true,
        found: "refuses Method",
        section: "RFC 9110 §9.1",
        reason: "methods are case-sensitive: `get` is another method for a rule that names GET, and the same for many a server",
    },
    Difference {
        requests: true,
        found: "refuses Target",
        section: "RFC 9112 §3.2",
        reason: "hyper leaves it to its user which form of target belongs to which method, and takes fragments, user information, other schemes and bytes above ASCII",
    },
    Difference {
        requests: true,
        found: "refuses Connect",
        section: "RFC 9110 §9.3.6",
        reason: "tunnels are not offered",
    },
    Difference {
        requests: true,
        found: "refuses MissingHost",
        section: "RFC 9112 §3.2",
        reason: "hyper leaves Host to its user; HTTP/1.0 without one cannot be routed",
    },
    Difference {
        requests: true,
        found: "refuses SeveralHosts",
        section: "RFC 9112 §3.2",
        reason: "hyper leaves Host to its user",
    },
    Difference {
        requests: true,
        found: "refuses Host",
        section: "RFC 9112 §3.2",
        reason: "hyper leaves Host to its user; an empty one, which RFC 9110 §7.2 allows, cannot be routed",
    },
    Difference {
        requests: true,
        found: "refuses ContentLength",
        section: "RFC 9110 §8.6",
        reason: "equal lengths may be merged or refused; refusing leaves nothing to be read in two ways",
    },
    Difference {
        requests: true,
        found: "refuses ContentLengthAndTransferEncoding",
        section: "RFC 9112 §6.1",
        reason: "may be refused as an attack; hyper drops the length",
    },
    Difference {
        requests: true,
        found: "refuses TransferEncoding",
        section: "RFC 9112 §7",
        reason: "chunked stands once and last; hyper looks at the last element only",
    },
    Difference {
        requests: true,
        found: "refuses UnknownTransferEncoding",
        section: "RFC 9112 §6.1",
        reason: "a coding that is not understood gets 501; hyper gives the coded bytes to its user",
    },
    Difference {
        requests: true,
        found: "refuses Chunk",
        section: "RFC 9112 §7.1",
        reason: "sizes, extensions and blanks as the grammar has them; hyper skips extensions unseen, and any zeros in front of a size",
    },
    Difference {
        requests: true,
        found: "refuses Trailer",
        section: "RFC 9110 §6.5.1",
        reason: "fields for framing, routing and authentication cannot stand in trailers; hyper gives them to its user",
    },
    Difference {
        requests: true,
        found: "refuses Connection",
        section: "RFC 9110 §7.6.1",
        reason: "the list holds tokens, and a field that every recipient needs cannot be for this connection only",
    },
    Difference {
        requests: true,
        found: "refuses Upgrade",
        section: "RFC 9110 §7.8",
        reason: "no protocol is offered; hyper leaves the answer to its user",
    },
    Difference {
        requests: true,
        found: "refuses Expectation",
        section: "RFC 9110 §10.1.1",
        reason: "an unknown expectation may get 417; hyper takes no notice",
    },
    Difference {
        requests: true,
        found: "refuses HeadTooLarge",
        section: "RFC 9110 §5.4",
        reason: "our limit is Envoy's 60 KiB; hyper's is its read buffer",
    },
    Difference {
        requests: true,
        found: "accepts: hyper::Error(Parse(Uri))",
        section: "RFC 9112 §3.2",
        reason: "SHOULD refuse what RFC 3986 does not allow; `<`, `>` and a grave accent are sent by clients, delimit nothing, and are passed on as they came",
    },
    Difference {
        requests: false,
        found: "refuses LineEnd",
        section: "RFC 9112 §2.2",
        reason: "a line ends in CR LF; who takes LF alone and who does not see different fields",
    },
    Difference {
        requests: false,
        found: "refuses StatusLine",
        section: "RFC 9112 §2.2",
        reason: "an empty line is forgiven before requests only; hyper skips them before responses too",
    },
    Difference {
        requests: false,
        found: "refuses ContentLength",
        section: "RFC 9110 §8.6",
        reason: "equal lengths may be merged or refused; refusing leaves nothing to be read in two ways",
    },
    Difference {
        requests: false,
        found: "refuses ContentLengthAndTransferEncoding",
        section: "RFC 9112 §6.3",
        reason: "ought to be handled as an error; hyper drops the length",
    },
    Difference {
        requests: false,
        found: "refuses TransferEncoding",
        section: "RFC 9112 §6.1",
        reason: "none in 1xx, 204 and HTTP/1.0, and chunked stands once and last",
    },
    Difference {
        requests: false,
        found: "refuses UnknownTransferEncoding",
        section: "RFC 9112 §6.1",
        reason: "a coding that is not understood cannot be passed on; hyper gives the coded bytes to its user",
    },
    Difference {
        requests: false,
        found: "refuses Chunk",
        section: "RFC 9112 §7.1",
        reason: "sizes, extensions and blanks as the grammar has them; hyper skips extensions unseen",
    },
    Difference {
        requests: false,
        found: "refuses Trailer",
        section: "RFC 9110 §6.5.1",
        reason: "fields for framing and routing cannot stand in trailers; hyper gives them to its user",
    },
    Difference {
        requests: false,
        found: "refuses Connection",
        section: "RFC 9110 §7.6.1",
        reason: "the list holds tokens, and a field that every recipient needs cannot be for this connection only",
    },
    Difference {
        requests: false,
        found: "refuses Informational",
        section: "RFC 9110 §15.2.2",
        reason: "nobody asked for another protocol; hyper leaves that to its user",
    },
    Difference {
        requests: false,
        found: "refuses HeadTooLarge",
        section: "RFC 9110 §5.4",
        reason: "our limit is Envoy's 60 KiB; hyper's is its read buffer",
    },
];

/// Whether there is a row for it.
pub(crate) fn is_accepted(role: Role, found: &str) -> bool {
    let requests = role == Role::Requests;
    ACCEPTED
        .iter()
        .any(|row| row.requests == requests && row.found == found)
}

#[test]
fn every_difference_has_its_section_and_reason() {
    for row in ACCEPTED {
        assert!(
            row.section.starts_with("RFC ") && row.reason.len() > 20,
            "{row:?}"
        );
    }
}
