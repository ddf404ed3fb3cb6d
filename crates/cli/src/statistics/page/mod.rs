//! The report as one HTML page: no script, and nothing from elsewhere, which its content security
//! policy also says. It follows the colours of the reader's system, and can be printed.
//!
//! All text is escaped by `maud`. Text from outside also has characters replaced that are invisible
//! or change the direction of what follows, see [`parts::shown`].

mod chart;
mod event;
mod parts;
mod sections;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::checks::finding::Status;
use crate::statistics::assessment::{Assessment, Concern};
use crate::statistics::node_facts::rfc3339;
use crate::statistics::node_report::NodeReport;
use parts::{chip, remedy, shown};

const STYLE: &str = include_str!("style.css");

/// Nothing but the style above, which is identified by its SHA-256 (in base64).
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; \
                      style-src 'sha256-t2yAjDVUgxc23eNE+w0Er2uuIKrpI0iAnA/FUOiGcPA='";

/// The page.
pub(crate) fn html(report: &NodeReport, assessment: &Assessment) -> String {
    let hostname = shown(report.facts.hostname.as_deref().unwrap_or("this node"));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { "AppArmor report: " (hostname) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "AppArmor report" }
                    h1 { (hostname) }
                    p.when {
                        (rfc3339(report.time))
                        @if let Some(os) = &report.facts.os { " · " (shown(os)) }
                        @if let Some(kernel) = &report.facts.kernel { " · Linux " (shown(kernel)) }
                    }
                }
                main {
                    (verdict(assessment))
                    (sections::numbers(report))
                    (sections::containers(report))
                    (sections::denials(report))
                    (sections::profiles(report))
                    (sections::engines(report))
                    (sections::counters(report))
                    (sections::checks(report))
                    (sections::node(report))
                }
                footer {
                    p { "Made by oci-apparmor " (report.facts.version) ". Counts are since boot." }
                }
            }
        }
    };
    page.into_string()
}

/// The verdict, and what needs attention.
fn verdict(assessment: &Assessment) -> Markup {
    let (class, mark, word) = match assessment.status {
        Status::Ok => ("good", "✓", "In order"),
        Status::Warning => ("warning", "!", "Needs attention"),
        Status::Failure => ("bad", "✕", "Not in order"),
    };
    html! {
        section.verdict.(class) aria-labelledby="verdict" {
            div.head {
                span.mark aria-hidden="true" { (mark) }
                div {
                    h2 #verdict { (word) }
                    p { (shown(&assessment.summary)) }
                }
            }
            @if !assessment.concerns.is_empty() {
                ul.concerns {
                    @for concern in &assessment.concerns { (concern_item(concern)) }
                }
            }
        }
    }
}

fn concern_item(concern: &Concern) -> Markup {
    html! {
        li {
            (chip(concern.status))
            div {
                p { (shown(&concern.text)) }
                @if let Some(text) = &concern.remedy { (remedy(text)) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
