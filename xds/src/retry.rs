//! `envoy.config.route.v3.RetryPolicy`.

use std::time::Duration;

use leno_model::invalid::Invalid;
use leno_model::route::{RetryOn, RetryPolicy};

use crate::descriptors::pack;
use crate::pb::route::retry_policy::{RetryBackOff, RetryHostPredicate, retry_host_predicate::ConfigType};
use crate::pb::{previous_hosts, route};
use crate::strict::Fields;
use crate::wire::{self, Within, list, uint32};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.route.v3.RetryPolicy",
        supported: &[
            "retry_on",
            "num_retries",
            "per_try_timeout",
            "retry_host_predicate",
            "retriable_status_codes",
            "retry_back_off",
        ],
        no_effect: &[(
            "host_selection_retry_max_attempts",
            "another endpoint is found without guessing again",
        )],
    },
    Fields {
        message: "envoy.config.route.v3.RetryPolicy.RetryBackOff",
        supported: &["base_interval", "max_interval"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        supported: &[],
        no_effect: &[],
    },
];

const PREVIOUS_HOSTS: &str = "envoy.retry_host_predicates.previous_hosts";

/// Envoy's first pause; the longest one is ten times that.
const DEFAULT_BASE: Duration = Duration::from_millis(25);

type Flag = fn(&mut RetryOn) -> &mut bool;

/// The words of `retry_on`.
const CONDITIONS: &[(&str, Flag)] = &[
    ("5xx", |on| &mut on.server_error),
    ("gateway-error", |on| &mut on.gateway_error),
    ("connect-failure", |on| &mut on.connect_failure),
    ("reset", |on| &mut on.reset),
    ("reset-before-request", |on| &mut on.reset_before_request),
    ("refused-stream", |on| &mut on.refused_stream),
    ("retriable-4xx", |on| &mut on.retriable_4xx),
    ("retriable-status-codes", |on| &mut on.retriable_status_codes),
    ("cancelled", |on| &mut on.grpc_cancelled),
    ("deadline-exceeded", |on| &mut on.grpc_deadline_exceeded),
    ("internal", |on| &mut on.grpc_internal),
    ("resource-exhausted", |on| &mut on.grpc_resource_exhausted),
    ("unavailable", |on| &mut on.grpc_unavailable),
];

/// From the wire.
pub(crate) fn decode(policy: &route::RetryPolicy) -> Result<RetryPolicy, Invalid> {
    let back_off = policy.retry_back_off.unwrap_or_default();
    let base = wire::positive("base_interval", back_off.base_interval.as_ref()).within("retry_back_off")?;
    let longest = wire::positive("max_interval", back_off.max_interval.as_ref()).within("retry_back_off")?;
    if policy.retry_back_off.is_some() && base.is_none() {
        return Err(Invalid::new("retry_back_off.base_interval", "is required"));
    }
    let base = base.unwrap_or(DEFAULT_BASE);
    let longest = longest.unwrap_or(base * 10);
    if longest < base {
        return Err(Invalid::new(
            "retry_back_off.max_interval",
            "is below `base_interval`",
        ));
    }
    list(
        "retry_host_predicate",
        &policy.retry_host_predicate,
        check_predicate,
    )?;
    Ok(RetryPolicy {
        on: decode_conditions(&policy.retry_on),
        retries: policy.num_retries.map_or(1, |retries| retries.value),
        per_try_timeout: wire::timeout("per_try_timeout", policy.per_try_timeout.as_ref(), None)?,
        status_codes: list("retriable_status_codes", &policy.retriable_status_codes, |code| {
            match u16::try_from(*code) {
                Ok(code @ 100..=599) => Ok(code),
                _ => Err(Invalid::new("", format!("{code} is not an HTTP status"))),
            }
        })?,
        backoff_base: base,
        backoff_max: longest,
        avoid_previous_hosts: !policy.retry_host_predicate.is_empty(),
    })
}

/// To the wire.
pub(crate) fn encode(value: &RetryPolicy) -> route::RetryPolicy {
    let predicate = value.avoid_previous_hosts.then(|| RetryHostPredicate {
        name: PREVIOUS_HOSTS.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(
            &previous_hosts::PreviousHostsPredicate::default(),
        ))),
    });
    route::RetryPolicy {
        retry_on: encode_conditions(value.on),
        num_retries: Some(uint32(value.retries)),
        per_try_timeout: value.per_try_timeout.map(wire::to_duration),
        retry_host_predicate: predicate.into_iter().collect(),
        retriable_status_codes: value.status_codes.iter().copied().map(u32::from).collect(),
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(wire::to_duration(value.backoff_base)),
            max_interval: Some(wire::to_duration(value.backoff_max)),
        }),
        ..Default::default()
    }
}

/// Words that are not known are left out, as in Envoy.
fn decode_conditions(text: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match CONDITIONS.iter().find(|(name, _)| *name == word) {
            Some((_, flag)) => *flag(&mut on) = true,
            None => tracing::warn!(
                code = "retry_on_unknown",
                word,
                "retries on nothing, as in Envoy: it is not one of the words that are known"
            ),
        }
    }
    on
}

fn encode_conditions(mut on: RetryOn) -> String {
    let set: Vec<&str> = CONDITIONS
        .iter()
        .filter(|(_, flag)| *flag(&mut on))
        .map(|(name, _)| *name)
        .collect();
    set.join(",")
}

fn check_predicate(predicate: &RetryHostPredicate) -> Result<(), Invalid> {
    let by_type = predicate
        .config_type
        .as_ref()
        .map(|ConfigType::TypedConfig(any)| any.type_url.as_str());
    let is_known = match by_type {
        Some(type_url) => type_url.ends_with(".PreviousHostsPredicate"),
        None => predicate.name == PREVIOUS_HOSTS,
    };
    if is_known {
        return Ok(());
    }
    Err(Invalid::new(
        "name",
        format!("`{}` is not supported by this version", predicate.name),
    ))
}
