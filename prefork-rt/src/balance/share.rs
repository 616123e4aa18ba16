//! Whether a worker has more connections than its share. Pure: numbers in, an answer out.

/// Whether a worker with `own` connections lets the workers with these numbers accept first.
pub(super) fn is_ahead(own: u32, others: impl IntoIterator<Item = u32>) -> bool {
    others.into_iter().min().is_some_and(|least| own.saturating_sub(least) > LEAD)
}

const LEAD: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_alone_or_equal_to_all_others_is_not_ahead() {
        for own in [0, 1, 2, 1000, u32::MAX] {
            assert!(!is_ahead(own, []));
            assert!(!is_ahead(own, [own]));
            assert!(!is_ahead(own, [own; 63]));
        }
    }
}
