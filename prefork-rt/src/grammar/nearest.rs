//! Which known name a misspelt one is nearest to.
//!
//! It must not know what the names are of.

/// The known name that `word` was probably meant to be: case, `-` for `_`, or up to a third of its letters off.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let mut allowed = (word.chars().count() / 3).max(1);
    let mut nearest = None;
    for &name in known {
        let distance = edits(&word, &name.to_ascii_lowercase());
        if distance < allowed || distance == allowed && nearest.is_none() {
            (nearest, allowed) = (Some(name), distance);
        }
    }
    nearest
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![Vec::new()];
    for letters in 0..=b.len() {
        rows[0].push(letters);
    }
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let known = ["workers", "max_restarts", "graceful_timeout", "listen"];
        for (word, meant) in [
            ("workrs", "workers"),
            ("worker", "workers"),
            ("max-restarts", "max_restarts"),
            ("lisetn", "listen"),
            ("gracefull_timeout", "graceful_timeout"),
        ] {
            assert_eq!(nearest(word, &known), Some(meant));
        }
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
