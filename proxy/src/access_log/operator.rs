//! Command operators, ready to be answered: names and arguments are read once, when configuration is applied.

use leno_model::access_log::{Operator as Written, time_pattern};

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// `START_TIME`.
    StartTime(Vec<time_pattern::Part>),
    /// `REQ`, `RESP`, `TRAILER`: the first of these fields that is there.
    Field(Fields, Vec<Box<[u8]>>),
    /// `REQ_WITHOUT_QUERY`.
    WithoutQuery(Vec<Box<[u8]>>),
    /// `QUERY_PARAM`.
    QueryParameter(Box<[u8]>),
    /// A text that does not change: `HOSTNAME`, `ENVIRONMENT`; `None` when there is none.
    Fixed(Option<Box<str>>),
    /// A whole number.
    Number(Number),
    /// A text.
    Text(Text),
    /// An address.
    Address(Address, Show),
    /// `DOWNSTREAM_TLS_...`, `DOWNSTREAM_PEER_...`, `DOWNSTREAM_LOCAL_...`.
    Tls(Tls),
    /// `GRPC_STATUS`.
    GrpcStatus(GrpcStyle),
    /// `FILTER_STATE`.
    FilterState(Box<str>),
}

/// Which fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// Of the request.
    Request,
    /// Of the response.
    Response,
    /// Of the response, at its end.
    Trailers,
}

/// Which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operators are")]
pub enum Number {
    BytesReceived,
    BytesSent,
    RequestHeadersBytes,
    ResponseHeadersBytes,
    ResponseTrailersBytes,
    ResponseCode,
    AttemptCount,
    Duration,
    RequestDuration,
    RequestTxDuration,
    ResponseDuration,
    ResponseTxDuration,
    ConnectionId,
}

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operators are")]
pub enum Text {
    Protocol,
    UpstreamProtocol,
    ResponseCodeDetails,
    TerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    RouteName,
    VirtualHostName,
    UpstreamHostName,
    UpstreamCluster,
    TransportFailureReason,
    StreamId,
    UniqueId,
    FilterChainName,
    ServerName,
}

/// What of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// As `TLSv1.3`.
    Version,
    /// OpenSSL's name.
    Cipher,
    /// Of the client's certificate.
    Peer(Told),
    /// Of the certificate that the client was shown.
    Own(Told),
}

/// What of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operators are")]
pub enum Told {
    Subject,
    Issuer,
    Serial,
    Fingerprint256,
    UriSan,
    DnsSan,
    IpSan,
    EmailSan,
}

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operators are")]
pub enum Address {
    Upstream,
    UpstreamLocal,
    Remote,
    DirectRemote,
    Local,
}

/// Which part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// `1.2.3.4:80`.
    Whole,
    /// `1.2.3.4`.
    Ip,
    /// `80`.
    Port,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStyle {
    /// `NotFound`.
    Camel,
    /// `NOT_FOUND`.
    Snake,
    /// `5`.
    Number,
}

impl Operator {
    /// Reads what the model holds.
    ///
    /// # Errors
    /// The operator is none of ours, which [`Format::parse`](leno_model::access_log::Format::parse) does not let
    /// through.
    pub fn read(written: &Written) -> Result<Self, String> {
        let argument = written.argument.as_deref();
        match written.name.as_str() {
            "START_TIME" => {
                time_pattern::parse(argument.unwrap_or(time_pattern::DEFAULT)).map(Self::StartTime)
            }
            "REQ" | "REQUEST_HEADER" => Ok(Self::Field(Fields::Request, names(argument))),
            "RESP" | "RESPONSE_HEADER" => Ok(Self::Field(Fields::Response, names(argument))),
            "TRAILER" | "RESPONSE_TRAILER" => Ok(Self::Field(Fields::Trailers, names(argument))),
            "REQ_WITHOUT_QUERY" => Ok(Self::WithoutQuery(names(argument))),
            "QUERY_PARAM" => Ok(Self::QueryParameter(
                argument.unwrap_or_default().as_bytes().into(),
            )),
            "HOSTNAME" => Ok(Self::Fixed(host_name())),
            // Lines are written when exchanges are over, and there are no virtual clusters.
            "ACCESS_LOG_TYPE" => Ok(Self::Fixed(Some("DownstreamEnd".into()))),
            "VIRTUAL_CLUSTER_NAME" => Ok(Self::Fixed(None)),
            "ENVIRONMENT" => Ok(Self::Fixed(environment(argument))),
            "FILTER_STATE" => Ok(Self::FilterState(filter_state(argument))),
            "GRPC_STATUS" => Ok(Self::GrpcStatus(match argument {
                Some("SNAKE_STRING") => GrpcStyle::Snake,
                Some("NUMBER") => GrpcStyle::Number,
                _ => GrpcStyle::Camel,
            })),
            "GRPC_STATUS_NUMBER" => Ok(Self::GrpcStatus(GrpcStyle::Number)),
            name => number(name)
                .map(Self::Number)
                .or_else(|| text(name).map(Self::Text))
                .or_else(|| tls(name).map(Self::Tls))
                .or_else(|| address(name))
                .ok_or_else(|| format!("unknown or unsupported operator %{name}%")),
        }
    }
}

/// `X-A?:PATH`.
fn names(argument: Option<&str>) -> Vec<Box<[u8]>> {
    let names = argument.unwrap_or_default().split('?');
    names
        .map(|name| name.to_ascii_lowercase().into_bytes().into())
        .collect()
}

/// As the kernel knows it (proc(5)).
fn host_name() -> Option<Box<str>> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().into())
}

fn environment(argument: Option<&str>) -> Option<Box<str>> {
    std::env::var(argument?).ok().map(Into::into)
}

fn filter_state(argument: Option<&str>) -> Box<str> {
    let argument = argument.unwrap_or_default();
    argument.split_once(':').map_or(argument, |(name, _)| name).into()
}

fn number(name: &str) -> Option<Number> {
    Some(match name {
        "BYTES_RECEIVED" => Number::BytesReceived,
        "BYTES_SENT" => Number::BytesSent,
        "REQUEST_HEADERS_BYTES" => Number::RequestHeadersBytes,
        "RESPONSE_HEADERS_BYTES" => Number::ResponseHeadersBytes,
        "RESPONSE_TRAILERS_BYTES" => Number::ResponseTrailersBytes,
        "RESPONSE_CODE" => Number::ResponseCode,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Number::AttemptCount,
        "DURATION" => Number::Duration,
        "REQUEST_DURATION" => Number::RequestDuration,
        "REQUEST_TX_DURATION" => Number::RequestTxDuration,
        "RESPONSE_DURATION" => Number::ResponseDuration,
        "RESPONSE_TX_DURATION" => Number::ResponseTxDuration,
        "CONNECTION_ID" => Number::ConnectionId,
        _ => return None,
    })
}

fn text(name: &str) -> Option<Text> {
    Some(match name {
        "PROTOCOL" => Text::Protocol,
        "UPSTREAM_PROTOCOL" => Text::UpstreamProtocol,
        "RESPONSE_CODE_DETAILS" => Text::ResponseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Text::TerminationDetails,
        "RESPONSE_FLAGS" => Text::ResponseFlags,
        "RESPONSE_FLAGS_LONG" => Text::ResponseFlagsLong,
        "ROUTE_NAME" => Text::RouteName,
        "VIRTUAL_HOST_NAME" => Text::VirtualHostName,
        "UPSTREAM_HOST_NAME" => Text::UpstreamHostName,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Text::UpstreamCluster,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Text::TransportFailureReason,
        "STREAM_ID" => Text::StreamId,
        "UNIQUE_ID" => Text::UniqueId,
        "FILTER_CHAIN_NAME" => Text::FilterChainName,
        "REQUESTED_SERVER_NAME" => Text::ServerName,
        _ => return None,
    })
}

fn tls(name: &str) -> Option<Tls> {
    let name = name.strip_prefix("DOWNSTREAM_")?;
    match name {
        "TLS_VERSION" => return Some(Tls::Version),
        "TLS_CIPHER" => return Some(Tls::Cipher),
        _ => {}
    }
    let (whose, told): (fn(Told) -> Tls, &str) =
        match (name.strip_prefix("PEER_"), name.strip_prefix("LOCAL_")) {
            (Some(told), _) => (Tls::Peer, told),
            (None, Some(told)) => (Tls::Own, told),
            (None, None) => return None,
        };
    Some(whose(match told {
        "SUBJECT" => Told::Subject,
        "ISSUER" => Told::Issuer,
        "SERIAL" => Told::Serial,
        "FINGERPRINT_256" => Told::Fingerprint256,
        "URI_SAN" => Told::UriSan,
        "DNS_SAN" => Told::DnsSan,
        "IP_SAN" => Told::IpSan,
        "EMAIL_SAN" => Told::EmailSan,
        _ => return None,
    }))
}

fn address(name: &str) -> Option<Operator> {
    let (whose, show) = match (name.strip_suffix("_WITHOUT_PORT"), name.strip_suffix("_PORT")) {
        (Some(whose), _) => (whose, Show::Ip),
        (None, Some(whose)) => (whose, Show::Port),
        (None, None) => (name, Show::Whole),
    };
    let whose = whose.strip_suffix("_ADDRESS").unwrap_or(whose);
    let whose = match whose {
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE" => Address::Upstream,
        "UPSTREAM_LOCAL" => Address::UpstreamLocal,
        "DOWNSTREAM_REMOTE" => Address::Remote,
        "DOWNSTREAM_DIRECT_REMOTE" => Address::DirectRemote,
        "DOWNSTREAM_LOCAL" => Address::Local,
        _ => return None,
    };
    Some(Operator::Address(whose, show))
}

#[cfg(test)]
mod tests {
    use leno_model::access_log::operators::{Argument, OPERATORS};
    use leno_model::access_log::{Format, Part};

    use super::{Address, GrpcStyle, Number, Operator, Show};

    #[test]
    fn every_operator_that_a_format_may_hold_can_be_answered() {
        for known in OPERATORS {
            let source = match known.argument {
                Argument::Name | Argument::Field | Argument::FilterState => format!("%{}(x)%", known.name),
                Argument::None | Argument::Time | Argument::Words(_) => format!("%{}%", known.name),
            };
            let format = Format::parse(&source).unwrap();
            let [Part::Operator(written)] = format.parts.as_slice() else {
                panic!("{source} is one operator");
            };
            let operator = Operator::read(written).unwrap();
            let number = matches!(
                operator,
                Operator::Number(_)
                    | Operator::Address(_, Show::Port)
                    | Operator::GrpcStatus(GrpcStyle::Number)
            );
            assert_eq!(number, known.number, "{source}");
        }
    }

    #[test]
    fn addresses_are_told_apart() {
        let read = |source: &str| match &Format::parse(source).unwrap().parts[0] {
            Part::Operator(written) => Operator::read(written).unwrap(),
            Part::Text(_) => panic!("an operator"),
        };
        assert_eq!(
            read("%UPSTREAM_HOST%"),
            Operator::Address(Address::Upstream, Show::Whole)
        );
        assert_eq!(
            read("%DOWNSTREAM_LOCAL_PORT%"),
            Operator::Address(Address::Local, Show::Port)
        );
        assert_eq!(
            read("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            Operator::Address(Address::DirectRemote, Show::Ip)
        );
        assert_eq!(read("%DURATION%"), Operator::Number(Number::Duration));
    }
}
