//! Refuses requests without a header, and tells the upstream where a request came from.

use leno_sdk::{ConfigError, Context, Filter, HeadersVerdict, Interest, Request};

/// What users write under `pluginConfig`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The header that every request needs.
    required_header: String,
}

/// The configured filter.
pub struct ExampleFilter {
    required_header: String,
}

impl Filter for ExampleFilter {
    type Config = Config;
    /// Nothing is remembered about an exchange.
    type Exchange = ();
    const INTEREST: Interest = Interest {
        request_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, _: &Context) -> Result<Self, ConfigError> {
        if config.required_header.is_empty() {
            return Err(ConfigError::new("requiredHeader", "must not be empty"));
        }
        Ok(Self {
            required_header: config.required_header,
        })
    }

    fn on_request_headers(&self, _: &mut (), request: &Request<'_>) -> HeadersVerdict {
        if !request.headers().contains(&self.required_header) {
            let body = format!("{} is missing\n", self.required_header);
            return request
                .reply(400)
                .body(body)
                .details("header_missing")
                .send()
                .into();
        }
        if let Some(address) = request.property(&["source", "address"]).text() {
            request.headers().set("x-client-address", address);
        }
        HeadersVerdict::Continue
    }
}

leno_sdk::filter!(ExampleFilter);
