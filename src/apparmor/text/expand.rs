//! Expanding variables and `{a,b}` in a pattern.

use std::collections::BTreeMap;

/// How many texts one pattern may expand to.
const MAX: usize = 256;
/// The longest text that is expanded, in bytes.
const MAX_LENGTH: usize = 4096;

/// The texts that `pattern` stands for. A pattern with an unknown variable stands for none.
pub(super) fn expand(pattern: &str, variables: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut done = Vec::new();
    let mut pending = vec![pattern.to_owned()];
    for _ in 0..MAX {
        let Some(text) = pending.pop() else { break };
        if text.len() > MAX_LENGTH {
            continue;
        }
        if let Some((before, rest)) = text.split_once("@{") {
            let (name, after) = rest.split_once('}').unwrap_or((rest, ""));
            let values = variables.get(name).into_iter().flatten();
            pending.extend(values.map(|value| format!("{before}{value}{after}")));
        } else if let Some((before, rest)) = text.split_once('{') {
            let (choices, after) = alternatives(rest);
            pending.extend(choices.iter().map(|c| format!("{before}{c}{after}")));
        } else {
            done.push(text);
        }
    }
    done
}

/// The alternatives of `a,b{c,d}}rest`, whose opening brace was removed, and the rest.
fn alternatives(text: &str) -> (Vec<String>, String) {
    let mut choices = vec![String::new()];
    let mut depth: usize = 0;
    let mut characters = text.chars();
    for c in characters.by_ref() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                choices.push(String::new());
                continue;
            }
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(last) = choices.last_mut() {
            last.push(c);
        }
    }
    (choices, characters.collect())
}
