//! The lines of YAML in block style: finds keys by their indentation, and adds lines.

/// A text of YAML, in lines.
#[derive(Debug)]
pub(crate) struct YamlLines {
    /// Each with its line end.
    lines: Vec<String>,
}

/// The lines of a mapping or of a list: from this one up to, not including, that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct YamlBlock {
    from: usize,
    to: usize,
}

/// A key in a mapping.
#[derive(Debug, Clone, Copy)]
struct KeyLine {
    line: usize,
    indent: usize,
    /// The lines below it.
    below: YamlBlock,
}

impl YamlLines {
    pub(crate) fn of(text: &str) -> Self {
        Self {
            lines: text.split_inclusive('\n').map(str::to_owned).collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.concat()
    }

    /// The documents.
    pub(crate) fn documents(&self) -> Vec<YamlBlock> {
        let mut documents = Vec::new();
        let mut from = 0;
        for (number, line) in self.lines.iter().enumerate() {
            if line.starts_with("---") || line.starts_with("...") {
                documents.push(YamlBlock { from, to: number });
                from = number.saturating_add(1);
            }
        }
        let to = self.lines.len();
        documents.push(YamlBlock { from, to });
        documents
    }

    /// The value on the line of a key.
    pub(crate) fn value(&self, root: YamlBlock, path: &[&str]) -> Option<&str> {
        self.inline(self.find(root, path)?)
    }

    /// Adds an item to the list at this path; lists and mappings that are missing are made.
    pub(crate) fn add_item(&mut self, root: YamlBlock, path: &[&str], item: &str) -> Option<()> {
        let root = self.grown(root);
        let key = self.find_or_make(root, path)?;
        self.emptied(key)?;
        let items = self.items(key);
        let item = scalar(item);
        let text = |line: &String| {
            line.trim_start()
                .strip_prefix("- ")
                .map(|t| uncommented(t).to_owned())
        };
        let known = items.iter().filter_map(|number| self.lines.get(*number));
        if known
            .filter_map(text)
            .any(|t| t.trim_matches(['"', '\'']) == item.trim_matches('"'))
        {
            return Some(());
        }
        let indent = match items.first().and_then(|first| self.lines.get(*first)) {
            Some(first) => indentation(first)?,
            None => key.indent.saturating_add(2),
        };
        let last = items.last().copied().unwrap_or(key.line);
        self.insert(last, indent, &format!("- {item}"))
    }

    /// Sets the value of a key.
    pub(crate) fn set(&mut self, root: YamlBlock, path: &[&str], value: &str) -> Option<()> {
        let root = self.grown(root);
        let key = self.find_or_make(root, path)?;
        let name = path.last()?;
        let line = self.lines.get_mut(key.line)?;
        *line = format!("{}{name}: {value}\n", " ".repeat(key.indent));
        Some(())
    }

    /// Sets the text of a key that has a literal block (`|`).
    pub(crate) fn set_literal(&mut self, root: YamlBlock, path: &[&str], text: &str) -> Option<()> {
        let key = self.find(root, path)?;
        if !matches!(self.inline(key)?, "|" | "|-" | "|+") {
            return None;
        }
        let below = key.below;
        let old = self.lines.get(below.from..below.to)?;
        let indent = old.iter().find_map(|line| indentation(line))?;
        let indent = " ".repeat(indent);
        let new = text
            .split_inclusive('\n')
            .map(|line| match line.trim().is_empty() {
                true => line.to_owned(),
                false => format!("{indent}{line}"),
            });
        let new: Vec<String> = new.collect();
        self.lines.splice(below.from..below.to, new);
        Some(())
    }

    /// The root block, up to the end of its document: lines may have been added.
    fn grown(&self, root: YamlBlock) -> YamlBlock {
        let all = self.documents();
        all.into_iter()
            .find(|block| block.from == root.from)
            .unwrap_or(root)
    }

    fn find(&self, root: YamlBlock, path: &[&str]) -> Option<KeyLine> {
        let (last, parents) = path.split_last()?;
        let mut block = root;
        for name in parents {
            block = self.key(block, name)?.below;
        }
        self.key(block, last)
    }

    fn find_or_make(&mut self, root: YamlBlock, path: &[&str]) -> Option<KeyLine> {
        let (first, rest) = path.split_first()?;
        let mut key = self.key(root, first)?;
        for name in rest {
            self.emptied(key)?;
            key = match self.key(key.below, name) {
                Some(found) => found,
                None => {
                    let indent = self
                        .first(key.below)
                        .map_or(key.indent.saturating_add(2), |(_, at)| at);
                    let last = self.last(key.below).unwrap_or(key.line);
                    self.insert(last, indent, &format!("{name}:"))?;
                    let line = last.saturating_add(1);
                    let below = YamlBlock {
                        from: line.saturating_add(1),
                        to: line.saturating_add(1),
                    };
                    KeyLine {
                        line,
                        indent,
                        below,
                    }
                }
            };
        }
        Some(key)
    }

    /// A key of the mapping in a block.
    fn key(&self, block: YamlBlock, name: &str) -> Option<KeyLine> {
        let (_, indent) = self.first(block)?;
        let is_key = |line: &str| {
            let rest = line
                .trim_start()
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(':'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r', '\t']))
        };
        let numbered = self
            .lines
            .iter()
            .enumerate()
            .take(block.to)
            .skip(block.from);
        let mut keys =
            numbered.filter(|(_, line)| indentation(line) == Some(indent) && is_key(line));
        let (line, _) = keys.next()?;
        let from = line.saturating_add(1);
        let ends = |(_, line): &(usize, &String)| match indentation(line) {
            None => false,
            // A list may be as far to the left as its key.
            Some(at) => at < indent || (at == indent && !line.trim_start().starts_with("- ")),
        };
        let mut behind = self.lines.iter().enumerate().take(block.to).skip(from);
        let to = behind.find(ends).map_or(block.to, |(number, _)| number);
        Some(KeyLine {
            line,
            indent,
            below: YamlBlock { from, to },
        })
    }

    /// The first line with text of a block, and its indentation.
    fn first(&self, block: YamlBlock) -> Option<(usize, usize)> {
        let numbered = self
            .lines
            .iter()
            .enumerate()
            .take(block.to)
            .skip(block.from);
        numbered
            .into_iter()
            .find_map(|(number, line)| Some((number, indentation(line)?)))
    }

    /// The last line with text of a block.
    fn last(&self, block: YamlBlock) -> Option<usize> {
        let text = |number: &usize| self.lines.get(*number).and_then(|line| indentation(line));
        (block.from..block.to)
            .rev()
            .find(|number| text(number).is_some())
    }

    /// The lines of the items of a list.
    fn items(&self, key: KeyLine) -> Vec<usize> {
        let numbered = self
            .lines
            .iter()
            .enumerate()
            .take(key.below.to)
            .skip(key.below.from);
        numbered
            .filter(|(_, line)| line.trim_start().starts_with("- "))
            .map(|(n, _)| n)
            .collect()
    }

    /// The value on the line of a key; empty where there is none.
    fn inline(&self, key: KeyLine) -> Option<&str> {
        let (_, value) = self.lines.get(key.line)?.split_once(':')?;
        Some(uncommented(value))
    }

    /// Makes a key without a value of one with an empty list, an empty mapping or null.
    fn emptied(&mut self, key: KeyLine) -> Option<()> {
        let value = self.inline(key)?;
        if value.is_empty() {
            return Some(());
        }
        if !matches!(value, "[]" | "{}" | "null" | "~") {
            return None;
        }
        let line = self.lines.get_mut(key.line)?;
        let (name, _) = line.split_once(':')?;
        *line = format!("{name}:\n");
        Some(())
    }

    /// Inserts a line behind another one.
    fn insert(&mut self, behind: usize, indent: usize, text: &str) -> Option<()> {
        let last = self.lines.get_mut(behind)?;
        if !last.ends_with('\n') {
            last.push('\n');
        }
        let at = behind.saturating_add(1);
        self.lines
            .insert(at, format!("{}{text}\n", " ".repeat(indent)));
        Some(())
    }
}

/// How far a line with text is indented; `None` for a blank line or a comment.
fn indentation(line: &str) -> Option<usize> {
    let text = line.trim_start_matches(' ');
    let is_text = !text.trim().is_empty() && !text.starts_with('#');
    is_text.then(|| line.len().saturating_sub(text.len()))
}

/// A value without the comment behind it.
fn uncommented(value: &str) -> &str {
    let end = match value.trim_start().starts_with('#') {
        true => Some(0),
        false => value.find(" #"),
    };
    value
        .get(..end.unwrap_or(value.len()))
        .unwrap_or_default()
        .trim()
}

/// A scalar, in quotes where it needs them. No text that is added here has a quote or a backslash.
pub(crate) fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_.-+*".contains(&b);
    let begins = text.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic());
    match begins && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("\"{text}\""),
    }
}
