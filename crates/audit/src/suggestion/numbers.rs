//! Names that differ only in numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::rule::pattern::{NamePattern, PatternPart};
use crate::text::OutsideText;

/// The numbers in names, told apart by the rest of the name and by their place in it.
#[derive(Debug)]
pub(super) struct Numbers {
    values: BTreeMap<NamePattern, Vec<BTreeSet<Vec<u8>>>>,
    least: usize,
}

impl Numbers {
    /// The numbers in these names. As many different ones in one place are evidence for more.
    pub(super) fn of<'p>(patterns: impl Iterator<Item = &'p NamePattern>, least: usize) -> Self {
        let mut values: BTreeMap<NamePattern, Vec<BTreeSet<Vec<u8>>>> = BTreeMap::new();
        for pattern in patterns {
            let numbers = numbers(pattern);
            let places = values.entry(replaced(pattern, |_| true)).or_default();
            places.resize(numbers.len(), BTreeSet::new());
            for (place, number) in places.iter_mut().zip(numbers) {
                // More than enough need not be kept.
                if place.len() < least {
                    place.insert(number.to_vec());
                }
            }
        }
        Self { values, least }
    }

    /// The pattern without those numbers of which there are enough different ones; `None` if there is
    /// none.
    pub(super) fn shape(&self, pattern: &NamePattern) -> Option<NamePattern> {
        let places = self.values.get(&replaced(pattern, |_| true))?;
        let is_enough = |values: &BTreeSet<Vec<u8>>| values.len() >= self.least;
        let mut has_number = false;
        let shape = replaced(pattern, |place| {
            let is_enough = places.get(place).is_some_and(is_enough);
            has_number = has_number || is_enough;
            is_enough
        });
        has_number.then_some(shape)
    }
}

/// The pattern of several names with one shape: numbers that are the same in all of them stay.
pub(super) fn common(shape: NamePattern, patterns: &[&NamePattern]) -> NamePattern {
    let all: Vec<Vec<&[u8]>> = patterns.iter().map(|pattern| numbers(pattern)).collect();
    let Some(first) = patterns.first() else {
        return shape;
    };
    replaced(first, |place| {
        let mut values = all.iter().map(|numbers| numbers.get(place));
        let one = values.next();
        values.any(|value| Some(value) != one)
    })
}

/// The text split where numbers begin and end.
fn pieces(text: &OutsideText) -> impl Iterator<Item = &[u8]> {
    text.bytes()
        .chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit())
}

fn is_number(piece: &[u8]) -> bool {
    piece.first().is_some_and(u8::is_ascii_digit)
}

fn numbers(pattern: &NamePattern) -> Vec<&[u8]> {
    let texts = pattern.parts().iter().filter_map(|part| match part {
        PatternPart::Text(text) => Some(text),
        _ => None,
    });
    texts
        .flat_map(pieces)
        .filter(|piece| is_number(piece))
        .collect()
}

/// The pattern without those numbers that are meant, which are counted from 0.
fn replaced(pattern: &NamePattern, mut is_meant: impl FnMut(usize) -> bool) -> NamePattern {
    let mut parts = Vec::new();
    let mut place = 0_usize;
    for part in pattern.parts() {
        let PatternPart::Text(text) = part else {
            parts.push(part.clone());
            continue;
        };
        for piece in pieces(text) {
            let is_number = is_number(piece);
            parts.push(match is_number && is_meant(place) {
                true => PatternPart::Number,
                false => PatternPart::Text(OutsideText::new(piece)),
            });
            place = place.saturating_add(usize::from(is_number));
        }
    }
    NamePattern::of(parts)
}
