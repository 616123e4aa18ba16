//! Whether a worker has more connections than its share. Pure: numbers in, an answer out.

/// How many connections more than another worker has are not more than its share. With 0 a client that opens a connection
/// for each request would often wait, because the worker that serves another client already has one.
const LEAD: u32 = 1;

/// Whether a worker with `own` connections lets the workers with these numbers accept first.
///
/// It compares with the least of them. With their mean, one number that is much too large would end the balance of all others.
pub(super) fn is_ahead(own: u32, others: impl IntoIterator<Item = u32>) -> bool {
    others.into_iter().min().is_some_and(|least| own.saturating_sub(least) > LEAD)
}

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

    #[test]
    fn a_worker_is_ahead_with_two_connections_more_than_any_other_has() {
        assert!(is_ahead(2, [0]) && is_ahead(18, [17, 16, 30]) && is_ahead(u32::MAX, [0]));
        assert!(!is_ahead(1, [0]) && !is_ahead(17, [17, 16, 30]) && !is_ahead(0, [u32::MAX; 3]));
    }

    #[test]
    fn an_absurd_number_does_not_end_the_balance_of_the_others() {
        assert!(is_ahead(5, [u32::MAX, 3]));
        assert!(!is_ahead(4, [u32::MAX, 3]));
    }

    #[test]
    fn by_this_rule_connections_are_spread_whichever_worker_is_the_fastest() {
        for workers in [1, 2, 3, 4, 7, 64] {
            let mut counts = vec![0_u32; workers];
            for _ in 0..workers * 16 {
                let others = |own: usize| {
                    let counts = counts.clone();
                    (0..workers).filter(move |&other| other != own).map(move |other| counts[other])
                };
                let fastest = (0..workers).find(|&own| !is_ahead(counts[own], others(own)));
                counts[fastest.expect("one is not ahead")] += 1;
            }
            assert!(counts.iter().all(|count| (14..=17).contains(count)), "{counts:?}");
        }
    }
}
