//! demo, test, gen, tidy, new-filter, bench: the only task runner.

fn main() {}
