#![deny(warnings, clippy::all)]

use prefork_rt::prefork;

/// Serves.
#[allow(unused_variables)]
#[prefork(workers = 2)]
#[cfg(unix)]
#[expect(unused_mut)]
#[inline(never)]
#[deny(unreachable_code)]
fn main(task_id: usize) {
    #![allow(unused_assignments)]
    #![doc = "Inside."]
    let mut id = 4;
}
