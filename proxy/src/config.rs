//! Configuration: from a bootstrap and a control plane to what workers run.
//!
//! The [store] decides, sans-IO; the driver does what it asks for: prepares parts in the background, answers the
//! server, and publishes each new [`plan::Plan`]. When the server is gone, what serves goes on serving.

pub mod driver;

pub mod plan;

pub mod store;

pub mod boot;

pub mod fetch;

pub mod prepare;

pub mod link;

pub mod notes;

pub mod view;
