//! leno: write, build, push, attach and run filters; see what the mesh does.

fn main() {}
