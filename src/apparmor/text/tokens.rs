//! The tokens of a text, as the parser's lexer reads them (parser_lex.l).

use std::ops::Range;

/// A token; words and includes have the line on which they begin.
#[derive(Debug)]
pub(super) enum Token {
    Word(usize, String),
    Include(usize, String),
    Comma,
    Open,
    Close,
    Newline,
}

/// Whether a statement begins with the assignment of a variable: `@{x} = a b` or `@{x}+=c`.
pub(super) fn assigns(text: &str) -> bool {
    let rest = text.strip_prefix("@{").and_then(|t| t.split_once('}'));
    rest.is_some_and(|(_, rest)| {
        let rest = rest.trim_start();
        rest.starts_with('=') || rest.starts_with("+=")
    })
}

/// The tokens of a text.
pub(super) struct Tokens<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
    /// How many bytes were read, and how many when the last token began.
    read: usize,
    begin: usize,
    /// The first words of the statement, to recognise an assignment: there a word may begin with
    /// `{`, which opens a block elsewhere.
    begun: String,
}

impl<'t> Tokens<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            rest: text.chars().peekable(),
            line: 1,
            read: 0,
            begin: 0,
            begun: String::new(),
        }
    }

    /// Where the last token is in the text, in bytes.
    pub(super) fn place(&self) -> Range<usize> {
        self.begin..self.read
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.read = self.read.saturating_add(c.len_utf8());
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(c)
    }

    /// The next character, if the line does not end.
    fn within_line(&mut self) -> Option<char> {
        match self.rest.peek() {
            Some('\n') | None => None,
            Some(_) => self.bump(),
        }
    }

    /// The target that follows the word `include`, with or without `if exists`.
    fn target(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.within_line() {
            text.push(c);
            let text = text.trim_start();
            let quotes = text.chars().filter(|c| *c == '"').count();
            if c == '>' || (c == '"' && quotes == 2) {
                break;
            }
        }
        let text = text.trim();
        let bare = text.strip_prefix("if").map(str::trim_start);
        let bare = bare.and_then(|t| t.strip_prefix("exists")).map(str::trim);
        bare.unwrap_or(text).to_owned()
    }

    /// One word; empty if a separator follows.
    fn word(&mut self) -> String {
        let mut word = String::new();
        let mut braces: usize = 0;
        let mut quoted = false;
        while let Some(&c) = self.rest.peek() {
            match c {
                '"' => {
                    self.bump();
                    self.until('"', &mut word);
                    quoted = true;
                    continue;
                }
                '(' if word.ends_with('=') || word.chars().all(|c| c.is_ascii_alphabetic()) => {
                    // `signal(send)` means `signal (send)`.
                    if !word.is_empty() && !word.ends_with('=') {
                        break;
                    }
                    word.push('(');
                    self.bump();
                    self.until(')', &mut word);
                    word.push(')');
                    break;
                }
                '\\' => {
                    word.push(c);
                    self.bump();
                    word.extend(self.bump());
                    continue;
                }
                '{' => braces = braces.saturating_add(1),
                '}' if braces == 0 => break,
                '}' => braces = braces.saturating_sub(1),
                ',' if braces == 0
                    && (quoted || !word.starts_with(['/', '@']) || !self.joins()) =>
                {
                    break;
                }
                c if c.is_whitespace() => break,
                _ => {}
            }
            word.push(c);
            self.bump();
        }
        word
    }

    /// Whether the next comma is part of a name, because no white space follows it.
    fn joins(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next();
        ahead.next().is_some_and(|c| !c.is_whitespace() && c != '}')
    }

    /// Reads up to `end` into `word`, without `end` and without quotes.
    fn until(&mut self, end: char, word: &mut String) {
        while let Some(c) = self.bump() {
            match c {
                c if c == end => break,
                '\\' => word.extend(self.bump()),
                '"' => {}
                c => word.push(c),
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let token = self.token()?;
        match &token {
            Token::Word(_, word) if !assigns(&self.begun) => {
                self.begun.push_str(word);
                self.begun.push(' ');
            }
            Token::Word(..) | Token::Include(..) => {}
            Token::Newline if !assigns(&self.begun) => {}
            _ => self.begun.clear(),
        }
        Some(token)
    }
}

impl Tokens<'_> {
    fn token(&mut self) -> Option<Token> {
        loop {
            let line = self.line;
            self.begin = self.read;
            match *self.rest.peek()? {
                '\n' => {
                    self.bump();
                    return Some(Token::Newline);
                }
                c if c.is_whitespace() => {
                    self.bump();
                }
                '#' => {
                    let mut ahead = self.rest.clone();
                    let word: String = ahead.by_ref().take(8).collect();
                    if word == "#include" && ahead.next().is_none_or(|c| " \t<\"".contains(c)) {
                        for _ in 0..8 {
                            self.bump();
                        }
                        return Some(Token::Include(line, self.target()));
                    }
                    while self.within_line().is_some() {}
                }
                ',' => {
                    self.bump();
                    return Some(Token::Comma);
                }
                '{' if !assigns(&self.begun) => {
                    self.bump();
                    return Some(Token::Open);
                }
                '}' => {
                    self.bump();
                    return Some(Token::Close);
                }
                _ => {
                    let word = self.word();
                    return Some(match word.as_str() {
                        "include" => Token::Include(line, self.target()),
                        _ => Token::Word(line, word),
                    });
                }
            }
        }
    }
}
