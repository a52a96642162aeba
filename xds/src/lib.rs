//! Envoy v3 API to and from the model, and the ADS conversation.
