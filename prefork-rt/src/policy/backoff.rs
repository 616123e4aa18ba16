//! How long a start waits.

use std::time::Duration;

use crate::grammar::Backoff;

/// How long the next start waits after so many quick ends in a row: not at all at first, then the first delay,
/// doubling; each with up to a quarter more at random. The doubling ends where that quarter just fits below the
/// longest, so that slots that fail together stay apart there, too.
pub(crate) fn delay(backoff: Backoff, quick_ends: u32, jitter: &mut Jitter) -> Duration {
    let Some(doublings) = quick_ends.checked_sub(1) else { return Duration::ZERO };
    let Backoff { first, longest } = backoff;
    let delay = first.saturating_mul(2u32.saturating_pow(doublings)).min(longest / 5 * 4).max(first);
    delay + jitter.up_to((delay / 4).min(longest.saturating_sub(delay)))
}

/// A lifetime, a tenth more or less, so that workers that started together do not end together.
pub(crate) fn lifetime(max_lifetime: Duration, jitter: &mut Jitter) -> Duration {
    (max_lifetime - max_lifetime / 10).saturating_add(jitter.up_to(max_lifetime / 5))
}

/// SplitMix64: small, seeded, and no secret depends on it.
pub(crate) struct Jitter(pub(crate) u64);

impl Jitter {
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(bits % most.saturating_add(1))
    }
}
