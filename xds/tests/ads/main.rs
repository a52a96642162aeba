//! Both ends of ADS driven against each other in memory, in both variants.

mod mesh;
mod published;
mod scenarios;
mod wire;
