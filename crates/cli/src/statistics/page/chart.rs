//! Horizontal bars: each with its name and its number as text.

use maud::{Markup, html};

use super::parts::number;
use crate::statistics::denial_totals::DenialSum;

/// How many bars a chart has; the rest is one more.
const MOST: usize = 10;

/// The length of the longest bar, in the units of the drawing.
const LONGEST: u64 = 1000;

/// A chart of sums, the largest first. Their names are for people already.
pub(super) fn bars(title: &str, sums: &[(&str, DenialSum)]) -> Markup {
    let (first, rest) = sums.split_at_checked(MOST).unwrap_or((sums, &[]));
    let add = |sum: DenialSum, (_, more): &(&str, DenialSum)| DenialSum {
        refused: sum.refused.saturating_add(more.refused),
        allowed: sum.allowed.saturating_add(more.allowed),
    };
    let others = rest.iter().fold(DenialSum::default(), add);
    let name = format!("{} more", rest.len());
    let mut all: Vec<(&str, DenialSum)> = first.to_vec();
    if !rest.is_empty() {
        all.push((&name, others));
    }
    let largest = all.iter().map(|(_, sum)| sum.all()).max().unwrap_or(0);
    html! {
        figure.chart {
            figcaption { (title) }
            dl {
                @for (name, sum) in &all {
                    div.row {
                        dt { (if name.is_empty() { "(none)" } else { name }) }
                        dd.bar aria-hidden="true" { (bar(*sum, largest)) }
                        dd.number { (number(sum.all())) }
                    }
                }
            }
        }
    }
}

/// One bar: what was refused, and behind it what was allowed in complain mode.
fn bar(sum: DenialSum, largest: u64) -> Markup {
    let refused = length(sum.refused, largest);
    let allowed = length(sum.allowed, largest);
    html! {
        svg viewBox={ "0 0 " (LONGEST) " 10" } preserveAspectRatio="none" focusable="false" {
            rect.track x="0" y="0" width=(LONGEST) height="10" {}
            @if refused > 0 { rect.refused x="0" y="0" width=(refused) height="10" {} }
            @if allowed > 0 { rect.allowed x=(refused) y="0" width=(allowed) height="10" {} }
        }
    }
}

/// How long a part is; what there is at all can be seen.
fn length(part: u64, largest: u64) -> u64 {
    let exact = u128::from(part).saturating_mul(u128::from(LONGEST));
    let exact = exact.checked_div(u128::from(largest)).unwrap_or(0);
    let exact = u64::try_from(exact).unwrap_or(LONGEST);
    match part {
        0 => 0,
        _ => exact.clamp(4, LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_can_be_seen_and_nothing_is_too_long() {
        for (part, largest, long) in [
            (0, 0, 0),
            (0, 5, 0),
            (5, 5, 1000),
            (1, 2, 500),
            (1, 1_000_000, 4),
            (u64::MAX, u64::MAX, 1000),
        ] {
            assert_eq!(length(part, largest), long, "{part} of {largest}");
        }
    }

    #[test]
    fn the_smallest_are_one_bar() {
        let names: Vec<String> = (0..25).map(|n| format!("p{n}")).collect();
        let sums = names.iter().map(|name| {
            let sum = DenialSum {
                refused: 1,
                allowed: 1,
            };
            (name.as_str(), sum)
        });
        let made = bars("By profile", &Vec::from_iter(sums)).into_string();
        assert_eq!(made.matches("class=\"row\"").count(), MOST + 1, "{made}");
        assert!(made.contains("15 more") && made.contains(">30<"), "{made}");
    }
}
