//! Write a proxy filter once: as a Proxy-Wasm module, as a component, and natively.
//!
//! A filter author meets one trait, [`Filter`], and the views it is called with. Below it stand two object-safe
//! seams that every kind of filter shares: [`plugin`] is what a proxy calls, [`host`] is what a filter may ask.
//! Native filters, Proxy-Wasm modules and components all implement the first and use the second, so a chain cannot
//! tell them apart.
//!
//! ```
//! use leno_sdk::{ConfigError, Context, Filter, HeadersVerdict, Interest, Request};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     header: String,
//! }
//!
//! struct RequireHeader {
//!     header: String,
//! }
//!
//! impl Filter for RequireHeader {
//!     type Config = Config;
//!     type Exchange = ();
//!     const INTEREST: Interest = Interest { request_headers: true, ..Interest::NONE };
//!
//!     fn configure(config: Config, _: &Context) -> Result<Self, ConfigError> {
//!         if config.header.is_empty() {
//!             return Err(ConfigError::new("header", "must not be empty"));
//!         }
//!         Ok(Self { header: config.header })
//!     }
//!
//!     fn on_request_headers(&self, _: &mut (), request: &Request<'_>) -> HeadersVerdict {
//!         if request.headers().contains(&self.header) {
//!             return HeadersVerdict::Continue;
//!         }
//!         request.reply(400).body(format!("{} is missing", self.header)).send().into()
//!     }
//! }
//!
//! leno_sdk::filter!(RequireHeader);
//!
//! use leno_sdk::testing::{Mesh, get};
//! let worker = Mesh::new().worker();
//! let filter = worker.native::<RequireHeader>(r#"{"header": "x-tenant"}"#).unwrap();
//! filter.run(get("/")).assert_reply(400).assert_body("x-tenant is missing");
//! filter.run(get("/").header("x-tenant", "blue")).assert_status(200);
//! ```

mod filter;

mod exchange;

mod fields;

mod property;

mod reply;

mod context;

mod config;

pub mod matching;

pub mod template;

pub mod native;

pub mod plugin;

pub mod host;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[cfg(target_family = "wasm")]
pub mod guest;

pub use config::{ConfigError, NoConfig, Time};
pub use context::{Context, Counter, Gauge, Histogram, tagged};
pub use exchange::{Body, Handle, Log, Request, Response};
pub use fields::{Fields, query_param};
pub use filter::Filter;
pub use host::{Call, CallId, Direction, Edit, HostError, LogLevel, Map, QueueId};
pub use plugin::{BodyVerdict, CallResponse, HeadersVerdict, Interest, TrailersVerdict};
pub use property::Property;
pub use reply::{Replied, Reply};
