//! Rust source, read as far as these tests need it. It is not a parser of Rust: code that rustfmt
//! has formatted is regular enough.

use std::collections::BTreeMap;
use std::fs;

use crate::{files_below, root};

/// A file of the root package or of a crate, without its tests.
pub(crate) struct File {
    /// Its path from the root: `src/hook.rs`, `crates/cli/src/main.rs`.
    pub name: String,
    /// The directory that `crate::` means: `src`, `crates/cli/src`.
    pub base: String,
    /// Its text without tests.
    pub text: String,
}

/// Every file that is built, except those of tests.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut bases = vec!["src".to_owned()];
    for entry in fs::read_dir(root.join("crates")).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        bases.push(format!("crates/{name}/src"));
    }
    let mut all = Vec::new();
    for base in bases {
        for path in files_below(&root.join(&base)) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let test = name.ends_with("/tests.rs") || name.contains("/tests/");
            if name.ends_with(".rs") && !test {
                all.push(File {
                    name: name.to_owned(),
                    base: base.clone(),
                    text: without_tests(&fs::read_to_string(&path).unwrap()).to_owned(),
                });
            }
        }
    }
    all
}

/// The tests of a file are a module at its end.
fn without_tests(text: &str) -> &str {
    let module = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(crate) mod "];
    let ends = module.iter().filter_map(|start| text.find(start));
    &text[..ends.min().unwrap_or(text.len())]
}

/// Text without comments, which knows what is inside of strings.
pub(crate) struct Code {
    text: String,
    quoted: Vec<bool>,
}

/// The function or closure around a place.
pub(crate) struct Around {
    name: String,
    /// Where it can be called: a closure, in the rest of the block that it is in.
    scope: std::ops::Range<usize>,
    /// The names of its parameters, without `self`.
    pub parameters: Vec<String>,
}

impl Code {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut code = Self {
            text: String::new(),
            quoted: Vec::new(),
        };
        let mut at = 0;
        while at < bytes.len() {
            let rest = &text[at..];
            let end = match bytes[at] {
                b'/' if rest.starts_with("//") => {
                    at += rest.find('\n').unwrap_or(rest.len());
                    continue;
                }
                b'"' => at + string(rest),
                b'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => at + raw(rest),
                b'\'' => at + character(rest),
                _ => at + rest.chars().next().unwrap().len_utf8(),
            };
            let piece = &text[at..end];
            code.text += piece;
            let quoted = piece.len() > 1 && piece.contains(['"', '\'']);
            code.quoted.resize(code.text.len(), quoted);
            at = end;
        }
        code
    }

    /// The text, without comments.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Every place outside of strings where this stands, and no longer word does.
    pub(crate) fn all(&self, wanted: &str) -> Vec<usize> {
        let found = self.text.match_indices(wanted).map(|(at, _)| at);
        let longer = |at: usize| wanted.starts_with(is_word) && self.text[..at].ends_with(is_word);
        found
            .filter(|at| !self.quoted[*at] && !longer(*at))
            .collect()
    }

    /// The bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (at, byte) in self.text.bytes().enumerate().skip(open) {
            match byte {
                _ if self.quoted[at] => {}
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return at;
                    }
                }
                _ => {}
            }
        }
        self.text.len() - 1
    }

    /// What stands between the bracket at `open` and the one that closes it, at its commas.
    pub(crate) fn arguments(&self, open: usize) -> Vec<String> {
        let inside = Code::new(&self.text[open + 1..self.closing(open)]);
        inside.split(',')
    }

    fn split(&self, separator: char) -> Vec<String> {
        let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
        for (at, c) in self.text.char_indices() {
            match c {
                _ if self.quoted[at] => {}
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                c if c == separator && depth == 0 => {
                    parts.push(self.text[start..at].trim().to_owned());
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(self.text[start..].trim().to_owned());
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// The argument of one of these methods, if its call follows at `end`.
    pub(crate) fn follows(&self, end: usize, methods: &[&str]) -> Option<String> {
        let rest = self.text[end..].trim_start();
        let start = self.text.len() - rest.len();
        let method = methods.iter().find(|method| rest.starts_with(**method))?;
        self.arguments(start + method.len() - 1).into_iter().next()
    }

    /// The closure with a name around a place, or else the function.
    pub(crate) fn around(&self, at: usize) -> Option<Around> {
        let closures = ["= |", "= move |"].iter().flat_map(|start| {
            let starts = self.text[..at].rmatch_indices(*start);
            starts.map(|(begin, start)| (begin, begin + start.len()))
        });
        // Of several that end behind the place, the one that begins last.
        let closure = closures
            .filter(|(begin, _)| !self.quoted[*begin] && self.statement(*begin) > at)
            .max()
            .and_then(|(begin, parameters)| {
                let name = self.text[..begin].trim_end().rsplit(' ').next()?;
                let end = self.text[parameters..].find('|')?;
                let list = &self.text[parameters..parameters + end];
                let scope = self.statement(begin)..self.block(self.statement(begin) + 1);
                Some((begin, name.to_owned(), list.to_owned(), scope))
            });
        let function = self.all("fn ").into_iter().rfind(|begin| *begin < at);
        let function = function.and_then(|begin| {
            let open = begin + self.text[begin..].find('(')?;
            let name = self.text[begin + 3..open].split('<').next()?.to_owned();
            let list = &self.text[open + 1..self.closing(open)];
            Some((begin, name, list.to_owned(), 0..self.text.len()))
        });
        let inner = closure.into_iter().chain(function);
        let (_, name, list, scope) = inner.max_by_key(|(begin, ..)| *begin)?;
        let parameters = Code::new(&list).split(',').into_iter();
        let parameters = parameters
            .map(|p| p.split(':').next().unwrap().trim().to_owned())
            .filter(|p| !p.ends_with("self"));
        Some(Around {
            name,
            scope,
            parameters: parameters.collect(),
        })
    }

    /// Where the statement ends that begins here.
    fn statement(&self, begin: usize) -> usize {
        self.end(begin, true)
    }

    /// Where the block ends that this place is in.
    fn block(&self, begin: usize) -> usize {
        self.end(begin, false)
    }

    fn end(&self, begin: usize, statement: bool) -> usize {
        let mut depth = 0;
        for (at, byte) in self.text.bytes().enumerate().skip(begin) {
            match byte {
                _ if self.quoted[at] => {}
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth -= 1,
                b';' if statement && depth == 0 => return at,
                _ => {}
            }
            if depth < 0 {
                return at;
            }
        }
        self.text.len()
    }

    /// The arguments of each call of it, and where that ends.
    pub(crate) fn calls(&self, around: &Around) -> Vec<(Vec<String>, usize)> {
        let call = format!("{}(", around.name);
        let places = self.all(&call).into_iter();
        places
            .filter(|at| around.scope.contains(at) && !self.text[..*at].ends_with("fn "))
            .map(|at| at + call.len() - 1)
            .map(|open| (self.arguments(open), self.closing(open) + 1))
            .collect()
    }

    /// `const NAME: &str = "…";`
    pub(crate) fn constants(&self) -> Vec<(String, String)> {
        let places = self.all("const ").into_iter();
        let constant = |at: usize| {
            let (head, _) = self.text[at + 6..].split_once(" = ")?;
            let name = head.strip_suffix(": &str")?;
            let value = at + 6 + head.len() + 3;
            let text = &self.text[value..self.statement(value)];
            Some((name.to_owned(), self.literal(text, 0, &BTreeMap::new())?))
        };
        places.filter_map(constant).collect()
    }

    /// The text that an expression at a place is, with `…` for what is not known before it runs;
    /// `None` where nothing of it is.
    pub(crate) fn literal(
        &self,
        expression: &str,
        at: usize,
        known: &BTreeMap<String, String>,
    ) -> Option<String> {
        let mut text = expression.trim().trim_start_matches('&');
        for end in [".to_owned()", ".to_string()", ".into()", ".clone()"] {
            text = text.strip_suffix(end).unwrap_or(text);
        }
        if text.starts_with('"') {
            return (string(text) == text.len()).then(|| unescaped(text));
        }
        if let Some(list) = text.strip_prefix("format!(") {
            let list = Code::new(list.strip_suffix(')')?).split(',');
            let (format, arguments) = list.split_first()?;
            return Some(self.filled(&unescaped(format), arguments, at, known));
        }
        let name = text.rsplit("::").next().unwrap();
        if !name.chars().all(is_word) {
            return None;
        }
        known.get(name).cloned().or_else(|| {
            // A local variable of this function.
            let start = self.all("fn ").into_iter().rfind(|begin| *begin < at)?;
            let binding = format!("let {name} = ");
            let value = start + self.text[start..at].rfind(&binding)? + binding.len();
            let value_text = &self.text[value..self.statement(value)];
            match value_text.starts_with("format!") || value_text.starts_with('"') {
                // A name in it means an earlier variable.
                true => self.literal(value_text, value - binding.len(), known),
                false => None,
            }
        })
    }

    /// Every string between the bracket at `open` and the one that closes it, with `…` for what is
    /// filled in.
    pub(crate) fn strings(&self, open: usize) -> Vec<String> {
        let end = self.closing(open);
        let starts = (open..end).filter(|at| self.quoted[*at] && !self.quoted[at - 1]);
        let texts = starts.map(|at| &self.text[at..at + string(&self.text[at..])]);
        texts
            .filter(|text| text.starts_with('"'))
            .map(|text| self.filled(&unescaped(text), &[], 0, &BTreeMap::new()))
            .collect()
    }

    fn filled(
        &self,
        format: &str,
        arguments: &[String],
        at: usize,
        known: &BTreeMap<String, String>,
    ) -> String {
        let mut arguments = arguments.iter();
        let mut text = String::new();
        let mut rest = format;
        while let Some(brace) = rest.find(['{', '}']) {
            text += &rest[..brace];
            rest = &rest[brace..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                text += &rest[..1];
                rest = &rest[2..];
                continue;
            }
            let (inside, behind) = rest[1..].split_once('}').unwrap();
            rest = behind;
            let name = inside.split(':').next().unwrap();
            let value = match name {
                "" => arguments.next().and_then(|a| self.literal(a, at, known)),
                name => self.literal(name, at, known),
            };
            text += value.as_deref().unwrap_or("…");
        }
        text + rest
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// The length of the string at the start of a text.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = 2 + hashes;
    begin + text[begin..].find(&end).unwrap() + end.len()
}

/// The length of the character at the start of a text; 1 for the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(1, |end| end + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// What a string in the source means.
fn unescaped(quoted: &str) -> String {
    let inside = quoted.trim_start_matches('"');
    let inside = inside.strip_suffix('"').unwrap_or(inside);
    let mut text = String::new();
    let mut chars = inside.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some(_)) => match chars.next().unwrap() {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other => text.push(other),
            },
            _ => text.push(c),
        }
    }
    text
}
