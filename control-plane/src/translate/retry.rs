//! Retry policies as Istio and Envoy write them.

use std::time::Duration;

use leno_model::invalid::Invalid;
use leno_model::route::{RetryOn, RetryPolicy};

use crate::api::virtual_service::Retries;

/// Envoy's first pause (`retry_back_off.base_interval`).
const BACKOFF_BASE: Duration = Duration::from_millis(25);

/// Conditions and status codes of an `x-envoy-retry-on` list.
///
/// # Errors
/// Names the entry that is neither.
pub fn parse_retry_on(list: &str) -> Result<(RetryOn, Vec<u16>), Invalid> {
    let mut on = RetryOn::default();
    let mut codes = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry {
            "5xx" => on.server_error = true,
            "gateway-error" => on.gateway_error = true,
            "connect-failure" => on.connect_failure = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "retriable-status-codes" => on.retriable_status_codes = true,
            "cancelled" => on.grpc_cancelled = true,
            "deadline-exceeded" => on.grpc_deadline_exceeded = true,
            "internal" => on.grpc_internal = true,
            "resource-exhausted" => on.grpc_resource_exhausted = true,
            "unavailable" => on.grpc_unavailable = true,
            _ => match entry.parse::<u16>() {
                Ok(code @ 100..=599) => {
                    on.retriable_status_codes = true;
                    codes.push(code);
                }
                _ => {
                    return Err(Invalid::new(
                        "",
                        format!(
                            "{entry:?} is neither a condition of Envoy's x-envoy-retry-on nor a status code"
                        ),
                    ));
                }
            },
        }
    }
    Ok((on, codes))
}

/// The policy of a route: what it says, or Istio's default of two further tries on failures that reached nobody.
pub fn policy(retries: Option<&Retries>) -> Option<RetryPolicy> {
    let default = Retries {
        attempts: 2,
        ..Retries::default()
    };
    let retries = retries.unwrap_or(&default);
    if retries.attempts == 0 {
        return None;
    }
    let conditions = match retries.retry_on.as_str() {
        // Istio's default since 1.24, which leaves out 503: it may have been executed.
        "" => "connect-failure,refused-stream,unavailable,cancelled",
        said => said,
    };
    // What does not parse was refused when the document was read.
    let (on, status_codes) = parse_retry_on(conditions).unwrap_or_default();
    let backoff_base = retries.backoff.map_or(BACKOFF_BASE, |span| span.0);
    Some(RetryPolicy {
        on,
        retries: retries.attempts,
        per_try_timeout: retries
            .per_try_timeout
            .map(|span| span.0)
            .filter(|timeout| !timeout.is_zero()),
        status_codes,
        backoff_base,
        backoff_max: backoff_base * 10,
        avoid_previous_hosts: retries.retry_ignore_previous_hosts.unwrap_or(true),
    })
}
