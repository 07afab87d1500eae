//! Which bytes of a tensor have been written.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges, neighbours merged.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// End of each range by its start.
    ends: BTreeMap<u64, u64>,
    covered: u64,
}

impl Spans {
    /// Adds a range; `false`, and nothing added, where it shares a number with one that is there.
    pub(super) fn add(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        let (mut start, mut end) = (range.start, range.end);
        let before = self.ends.range(..end).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, before_end)| start < before_end) {
            return false;
        }
        if let Some((before_start, before_end)) = before
            && before_end == start
        {
            start = before_start;
        }
        if let Some(after_end) = self.ends.remove(&end) {
            end = after_end;
        }
        self.ends.insert(start, end);
        self.covered += range.end - range.start;
        true
    }

    /// How many numbers are in some range.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_numbers(ranges in prop::collection::vec((0_u64..60, 0_u64..9), 0..40)) {
            let mut spans = Spans::default();
            let mut numbers = std::collections::BTreeSet::new();
            for (start, len) in ranges {
                let free = (start..start + len).all(|n| !numbers.contains(&n));
                prop_assert_eq!(spans.add(start..start + len), free);
                if free {
                    numbers.extend(start..start + len);
                }
                prop_assert_eq!(spans.covered(), numbers.len() as u64);
                let runs = numbers.iter().filter(|n| !numbers.contains(&n.wrapping_sub(1))).count();
                prop_assert_eq!(spans.ends.len(), runs);
            }
        }
    }
}
