//! A proxy in memory, to test filters against: native ones, and any other [`Plugin`](crate::plugin::Plugin).
//!
//! [`Mesh`] holds what all workers share (clock, shared data, queues, metrics, log), [`Worker`] runs filters on it,
//! [`Running`] is one configured filter. Phases, holding and visibility follow Envoy: a map that is not there in a
//! phase cannot be read, so that a filter which passes here does not fail there. [`Transcript`] is the same as data.

mod message;

mod mesh;

mod running;

mod exchange;

mod live;

mod outcome;

mod transcript;

mod folder;

pub use folder::{follows_transcripts, transcripts};
pub use live::Live;
pub use mesh::{Mesh, Worker};
pub use message::{Message, TestRequest, TestResponse, delete, get, post, request, response};
pub use outcome::Outcome;
pub use running::Running;
pub use transcript::{Answer, Expected, Script, Transcript, Values};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
