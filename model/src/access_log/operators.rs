//! The table of command operators: which names there are, and what may stand in their parentheses.
//!
//! Names and meanings are those of "Access logging: command operators" in Envoy's documentation. An operator that
//! is not in this table is refused when a format is read: no line is ever written with a hole in it.

use super::time_pattern;

/// What stands in the parentheses of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// No parentheses.
    None,
    /// A name, as `QUERY_PARAM(key)`.
    Name,
    /// A field, and optionally one to fall back to, as `REQ(X-A?:PATH)`.
    Field,
    /// Optional: a time pattern.
    Time,
    /// Optional: one of these words.
    Words(&'static [&'static str]),
    /// `wasm.x`, `wasm.x:PLAIN`: the name of a filter state, and how it is written.
    FilterState,
}

/// One operator.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// As `REQ`.
    pub name: &'static str,
    /// Its argument.
    pub argument: Argument,
    /// In a JSON line its value is a number.
    pub number: bool,
}

const fn text(name: &'static str) -> Known {
    with(name, Argument::None)
}

const fn with(name: &'static str, argument: Argument) -> Known {
    Known {
        name,
        argument,
        number: false,
    }
}

const fn number(name: &'static str) -> Known {
    Known {
        name,
        argument: Argument::None,
        number: true,
    }
}

/// How `GRPC_STATUS` is written.
const GRPC_STATUS_STYLES: &[&str] = &["CAMEL_STRING", "SNAKE_STRING", "NUMBER"];

/// Every operator that a proxy can answer, in the order of Envoy's documentation.
pub const OPERATORS: &[Known] = &[
    with("START_TIME", Argument::Time),
    number("REQUEST_HEADERS_BYTES"),
    number("BYTES_RECEIVED"),
    text("PROTOCOL"),
    text("UPSTREAM_PROTOCOL"),
    number("RESPONSE_CODE"),
    text("RESPONSE_CODE_DETAILS"),
    text("CONNECTION_TERMINATION_DETAILS"),
    number("RESPONSE_HEADERS_BYTES"),
    number("RESPONSE_TRAILERS_BYTES"),
    number("BYTES_SENT"),
    number("UPSTREAM_REQUEST_ATTEMPT_COUNT"),
    number("DURATION"),
    number("REQUEST_DURATION"),
    number("REQUEST_TX_DURATION"),
    number("RESPONSE_DURATION"),
    number("RESPONSE_TX_DURATION"),
    text("RESPONSE_FLAGS"),
    text("RESPONSE_FLAGS_LONG"),
    text("ROUTE_NAME"),
    text("VIRTUAL_HOST_NAME"),
    text("UPSTREAM_HOST"),
    text("UPSTREAM_HOST_NAME"),
    text("UPSTREAM_CLUSTER"),
    text("UPSTREAM_CLUSTER_RAW"),
    text("UPSTREAM_LOCAL_ADDRESS"),
    text("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    number("UPSTREAM_LOCAL_PORT"),
    text("UPSTREAM_REMOTE_ADDRESS"),
    text("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    number("UPSTREAM_REMOTE_PORT"),
    text("UPSTREAM_TRANSPORT_FAILURE_REASON"),
    text("DOWNSTREAM_REMOTE_ADDRESS"),
    text("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"),
    number("DOWNSTREAM_REMOTE_PORT"),
    text("DOWNSTREAM_DIRECT_REMOTE_ADDRESS"),
    text("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"),
    number("DOWNSTREAM_DIRECT_REMOTE_PORT"),
    text("DOWNSTREAM_LOCAL_ADDRESS"),
    text("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
    number("DOWNSTREAM_LOCAL_PORT"),
    number("CONNECTION_ID"),
    text("STREAM_ID"),
    text("UNIQUE_ID"),
    text("ACCESS_LOG_TYPE"),
    text("FILTER_CHAIN_NAME"),
    text("VIRTUAL_CLUSTER_NAME"),
    with("REQ", Argument::Field),
    with("REQUEST_HEADER", Argument::Field),
    with("REQ_WITHOUT_QUERY", Argument::Field),
    with("RESP", Argument::Field),
    with("RESPONSE_HEADER", Argument::Field),
    with("TRAILER", Argument::Field),
    with("RESPONSE_TRAILER", Argument::Field),
    with("QUERY_PARAM", Argument::Name),
    with("GRPC_STATUS", Argument::Words(GRPC_STATUS_STYLES)),
    number("GRPC_STATUS_NUMBER"),
    text("REQUESTED_SERVER_NAME"),
    text("DOWNSTREAM_TLS_VERSION"),
    text("DOWNSTREAM_TLS_CIPHER"),
    text("DOWNSTREAM_PEER_SUBJECT"),
    text("DOWNSTREAM_PEER_ISSUER"),
    text("DOWNSTREAM_PEER_SERIAL"),
    text("DOWNSTREAM_PEER_FINGERPRINT_256"),
    text("DOWNSTREAM_PEER_URI_SAN"),
    text("DOWNSTREAM_PEER_DNS_SAN"),
    text("DOWNSTREAM_PEER_IP_SAN"),
    text("DOWNSTREAM_PEER_EMAIL_SAN"),
    text("DOWNSTREAM_LOCAL_SUBJECT"),
    text("DOWNSTREAM_LOCAL_URI_SAN"),
    text("DOWNSTREAM_LOCAL_DNS_SAN"),
    text("HOSTNAME"),
    with("ENVIRONMENT", Argument::Name),
    with("FILTER_STATE", Argument::FilterState),
];

/// The operator of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    OPERATORS.iter().find(|known| known.name == name)
}

/// Checks what stands in the parentheses of an operator.
///
/// # Errors
/// What is wrong with it.
pub fn check(known: &Known, argument: Option<&str>) -> Result<(), String> {
    let name = known.name;
    match (known.argument, argument) {
        (Argument::None, None) | (Argument::Time | Argument::Words(_), None) => Ok(()),
        (Argument::None, Some(_)) => Err(format!("%{name}% takes no argument")),
        (Argument::Name | Argument::Field | Argument::FilterState, None | Some("")) => {
            Err(format!("%{name}% wants a name in parentheses"))
        }
        (Argument::Name, Some(_)) => Ok(()),
        (Argument::Field, Some(field)) => check_field(name, field),
        (Argument::Time, Some(pattern)) => time_pattern::parse(pattern).map(|_| ()),
        (Argument::Words(words), Some(word)) if words.contains(&word) => Ok(()),
        (Argument::Words(words), Some(word)) => Err(format!(
            "%{name}({word})%: the argument is one of {}",
            words.join(", ")
        )),
        (Argument::FilterState, Some(state)) => match state.split_once(':') {
            None | Some((_, "PLAIN")) => Ok(()),
            Some((_, style)) => Err(format!(
                "%{name}({state})%: {style:?} is not supported, use PLAIN"
            )),
        },
    }
}

fn check_field(name: &str, field: &str) -> Result<(), String> {
    let mut alternatives = 0;
    for alternative in field.split('?') {
        alternatives += 1;
        let letters = alternative.strip_prefix(':').unwrap_or(alternative);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        if letters.is_empty() || !letters.bytes().all(token) {
            return Err(format!("%{name}({field})%: {alternative:?} is not a field name"));
        }
    }
    if alternatives > 2 {
        return Err(format!("%{name}({field})%: more than one alternative field"));
    }
    Ok(())
}
