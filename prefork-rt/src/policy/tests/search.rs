//! Looks for scenarios that break an invariant, for as long as PREFORK_SEARCH_SECONDS says.
//!
//! ```sh
//! PREFORK_SEARCH_SECONDS=3600 cargo test --release -p prefork-rt --lib policy::tests::search -- --ignored --nocapture
//! ```
//!
//! Without `PREFORK_SEARCH_SEED` the first seed is taken from the clock; the seed of each violation is printed. With it
//! the seeds are that number and those after it, and `PREFORK_SEARCH_SECONDS=0` runs that one scenario.

use super::random::play;
use std::env;
use std::panic::catch_unwind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Seeds from the clock are far from those of other runs.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_nanos() as u64
}

#[test]
#[ignore = "it takes as long as it is told to: see CONTRIBUTING.md"]
fn no_scenario_of_a_long_search_breaks_an_invariant() {
    let limit = Duration::from_secs(number("PREFORK_SEARCH_SECONDS").unwrap_or(60));
    let first = number("PREFORK_SEARCH_SEED").unwrap_or_else(fresh);
    let (begun, mut run, mut steps, mut broken) = (Instant::now(), 0, 0, Vec::new());
    while run == 0 || begun.elapsed() < limit {
        let seed = first.wrapping_add(run);
        match catch_unwind(|| play(seed).1) {
            Ok(more) => steps += more,
            Err(_) => {
                eprintln!("PREFORK_SEARCH_SEED={seed} breaks an invariant");
                broken.push(seed);
            }
        }
        run += 1;
    }
    eprintln!("{run} scenarios from seed {first} on, {steps} steps, {} violations", broken.len());
    assert!(broken.is_empty(), "the seeds of {} violations: {broken:?}", broken.len());
}
