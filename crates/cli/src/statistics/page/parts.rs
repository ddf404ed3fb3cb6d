//! What the sections of the page are made of.

use maud::{Markup, html};

use crate::checks::finding::Status;
use crate::report::table::Tone;
use oci_apparmor_audit::text::OutsideText;

/// Text from outside on one line, with nothing invisible in it.
pub(super) fn shown(text: &str) -> String {
    OutsideText::new(text.as_bytes()).to_string()
}

/// A word with a colour. The colour repeats what the word says.
pub(super) fn badge(word: &str, tone: Tone) -> Markup {
    html! { span.badge.(class(tone)) { (shown(word)) } }
}

/// The class of a tone.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// A finding's status.
pub(super) fn chip(status: Status) -> Markup {
    match status {
        Status::Ok => badge("ok", Tone::Good),
        Status::Warning => badge("warning", Tone::Warning),
        Status::Failure => badge("failure", Tone::Bad),
    }
}

/// What to do; a command is set apart, so that it can be copied.
pub(super) fn remedy(text: &str) -> Markup {
    match text.split_once("run: ") {
        Some((before, command)) => html! {
            p.remedy { (shown(before)) "Run: " code { (shown(command)) } }
        },
        None => html! { p.remedy { (shown(text)) } },
    }
}

/// Text from outside in a cell, or a dash.
pub(super) fn text_or_dash(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => html! { (shown(text)) },
        None => dash(),
    }
}

/// A name or a path in a cell, or a dash.
pub(super) fn code_or_dash(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => html! { code { (shown(text)) } },
        None => dash(),
    }
}

fn dash() -> Markup {
    html! { span.none { "–" } }
}

/// A section with its title, and a line below it.
pub(super) fn section(id: &str, title: &str, about: &str, content: &Markup) -> Markup {
    html! {
        section.part aria-labelledby=(id) {
            h2 id=(id) { (title) }
            @if !about.is_empty() { p.about { (about) } }
            (content)
        }
    }
}

/// A table. Where the page is narrow, each row becomes a block, and each cell has its title.
pub(super) fn table<const N: usize>(
    titles: [&str; N],
    rows: &[[Markup; N]],
    nothing: &str,
) -> Markup {
    if rows.is_empty() {
        return html! { p.nothing { (nothing) } };
    }
    html! {
        table {
            thead { tr { @for title in titles { th scope="col" { (title) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for (title, cell) in titles.iter().zip(row) {
                            td data-title=(title) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A number with groups of three digits.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len().saturating_mul(2));
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(at);
        if at > 0 && left.is_multiple_of(3) {
            // A narrow space that does not break.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(number(n), text);
        }
    }

    #[test]
    fn only_commands_are_set_apart() {
        let made = remedy("restart it; run: podman restart <web>").into_string();
        assert_eq!(
            made,
            "<p class=\"remedy\">restart it; Run: <code>podman restart &lt;web&gt;</code></p>"
        );
        let made = remedy("restart it").into_string();
        assert_eq!(made, "<p class=\"remedy\">restart it</p>");
    }
}
