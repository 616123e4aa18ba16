use super::*;

fn gids(numbers: &[u32]) -> Vec<Gid> {
    numbers.iter().map(|&number| Gid::from_raw(number)).collect()
}

#[test]
fn groups_are_the_same_in_any_order_and_with_the_primary_one_or_without() {
    for (one, other, same) in [
        (&[7][..], &[][..], true),
        (&[], &[7], true),
        (&[4, 27, 4], &[7, 27, 4], true),
        (&[4], &[4, 27], false),
        (&[4, 27], &[4], false),
        (&[0], &[7], false),
    ] {
        assert_eq!(are_same(&gids(one), &gids(other), Gid::from_raw(7)), same, "{one:?} {other:?}");
    }
}

#[test]
fn many_groups_are_counted_and_the_first_are_named() {
    let unknown = |count: u32| names_of(&gids(&(0..count).map(|nth| 4_000_000_000 + nth).collect::<Vec<_>>()));
    assert_eq!(unknown(0), None);
    assert_eq!(unknown(1).as_deref(), Some("group 4000000000"));
    assert_eq!(unknown(2).as_deref(), Some("groups 4000000000 and 4000000001"));
    assert!(unknown(100).is_some_and(|names| names.ends_with("4000000007 and 92 more")));
}
