//! Tables for people: aligned columns that fit the terminal.
//!
//! Where the output is a pipe or a file, nothing is cut or wrapped, so scripts get everything. All
//! text is escaped here: names of files, processes and labels may hold control characters.

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSplitter};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: &str = "  ";

/// Before a line below a row.
const EDGE: usize = 4;

/// A column is not made narrower than this.
const LEAST: usize = 8;

/// What happens to a cell that is wider than its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The column is always as wide as its cells.
    Whole,
    /// Its end is cut off.
    Cut,
    /// Its start is cut off: a path says most at its end.
    CutStart,
    /// It takes several lines.
    Wrap,
}

/// What a word means, and so its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No colour.
    Plain,
    /// Green.
    Good,
    /// Yellow.
    Warning,
    /// Red.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }

    fn paint(self, text: &str, colour: bool) -> String {
        let style = self.style();
        match colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in the colour of `tone`.
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        let text = escaped(text.as_ref());
        Self { text, tone }
    }

    /// `-` where there is nothing.
    pub(crate) fn or_dash(text: Option<impl AsRef<str>>) -> Self {
        match text
            .as_ref()
            .map(AsRef::as_ref)
            .filter(|text| !text.is_empty())
        {
            Some(text) => Self::from(text),
            None => Self::from("-"),
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A line below a row.
#[derive(Debug)]
enum Note {
    /// Wrapped like a cell.
    Text(String, Tone),
    /// Never wrapped: it may hold a command that is to be pasted.
    Remedy(String),
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    cells: Vec<Cell>,
    notes: Vec<Note>,
}

impl Row {
    /// A row; it has a cell for each column.
    pub(crate) fn new(cells: impl IntoIterator<Item = Cell>) -> Self {
        Self {
            cells: cells.into_iter().collect(),
            notes: Vec::new(),
        }
    }

    /// Adds a line below the row.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        let text = escaped(text.as_ref());
        self.notes.push(Note::Text(text, Tone::Plain));
    }

    /// Adds a line of something that is wrong.
    pub(crate) fn warning(&mut self, text: impl AsRef<str>) {
        let text = escaped(text.as_ref());
        self.notes.push(Note::Text(format!("! {text}"), Tone::Bad));
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(&mut self, text: impl AsRef<str>) {
        self.notes.push(Note::Remedy(escaped(text.as_ref())));
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Fit)>,
    rows: Vec<Row>,
    /// Under which column the notes begin, if not near the left edge.
    notes: Option<usize>,
}

impl Table {
    /// An empty one. Without a single title there is no line of titles.
    pub(crate) fn new(columns: &[(&'static str, Fit)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: None,
        }
    }

    /// The same, with its notes under a column.
    pub(crate) fn notes_under(self, column: usize) -> Self {
        Self {
            notes: Some(column),
            ..self
        }
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The table as text, each line with its end. `width`: that of the terminal, if it goes to one.
    pub(crate) fn render(&self, width: Option<usize>, colour: bool) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        if self.columns.iter().any(|(title, _)| !title.is_empty()) {
            let titles: Vec<Cell> = self.columns.iter().map(|(t, _)| Cell::from(t)).collect();
            self.line(&mut text, &titles, &widths, false);
        }
        for row in &self.rows {
            self.line(&mut text, &row.cells, &widths, colour);
            for note in &row.notes {
                self.note(&mut text, note, &widths, width, colour);
            }
        }
        text
    }

    /// How wide the columns are: as wide as their cells, and less where the terminal is too narrow.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let natural = |(index, (title, _)): (usize, &(&str, Fit))| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let widest = cells.map(|cell| cell.text.width()).max().unwrap_or(0);
            widest.max(title.width())
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let Some(width) = width else {
            return widths;
        };
        let gaps = GAP.len().saturating_mul(widths.len().saturating_sub(1));
        while widths.iter().sum::<usize>().saturating_add(gaps) > width {
            let flexible = widths.iter_mut().zip(&self.columns);
            let flexible = flexible
                .filter(|(w, (title, fit))| *fit != Fit::Whole && **w > LEAST.max(title.width()));
            match flexible.max_by_key(|(w, _)| **w) {
                Some((widest, _)) => *widest = widest.saturating_sub(1),
                None => break,
            }
        }
        widths
    }

    /// A line below a row; at the left edge if a command would not fit under its column.
    fn note(
        &self,
        text: &mut String,
        note: &Note,
        widths: &[usize],
        width: Option<usize>,
        colour: bool,
    ) {
        let width = width.unwrap_or(usize::MAX);
        let before = widths.iter().take(self.notes.unwrap_or(0));
        let under: usize = before.map(|w| w.saturating_add(GAP.len())).sum();
        let indent = " ".repeat(if self.notes.is_some() { under } else { EDGE });
        match note {
            Note::Text(note, tone) => {
                for line in wrapped(note, width.saturating_sub(indent.len())) {
                    text.push_str(&format!("{indent}{}\n", tone.paint(&line, colour)));
                }
            }
            Note::Remedy(remedy) => {
                let line = format!("-> {remedy}");
                let fits = indent.len().saturating_add(line.width()) <= width;
                let indent = if fits { indent } else { " ".repeat(EDGE) };
                text.push_str(&format!("{indent}{line}\n"));
            }
        }
    }

    /// One row, which takes as many lines as its longest cell.
    fn line(&self, text: &mut String, cells: &[Cell], widths: &[usize], colour: bool) {
        let fitted: Vec<Vec<String>> = cells
            .iter()
            .zip(&self.columns)
            .zip(widths)
            .map(|((cell, (_, fit)), width)| fitted(&cell.text, *fit, *width))
            .collect();
        let height = fitted.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            let mut line = String::new();
            let mut padding = 0;
            for ((cell, parts), width) in cells.iter().zip(&fitted).zip(widths) {
                let part = parts.get(number).map_or("", String::as_str);
                // The end of a line has no blanks.
                if !part.is_empty() {
                    line.push_str(&" ".repeat(padding));
                    padding = 0;
                    line.push_str(&cell.tone.paint(part, colour));
                }
                let rest = width.saturating_sub(part.width());
                padding = padding.saturating_add(rest).saturating_add(GAP.len());
            }
            text.push_str(&line);
            text.push('\n');
        }
    }
}

/// A cell's text as lines of a column of this width.
fn fitted(text: &str, fit: Fit, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    match fit {
        Fit::Whole => vec![text.to_owned()],
        Fit::Cut => vec![format!("{}…", kept(text.chars(), width))],
        Fit::CutStart => {
            let end = kept(text.chars().rev(), width);
            vec![format!("…{}", end.chars().rev().collect::<String>())]
        }
        Fit::Wrap => wrapped(text, width),
    }
}

/// As many of the first characters as leave room for `…`.
fn kept(text: impl Iterator<Item = char>, width: usize) -> String {
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    text.take_while(fits).collect()
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width.max(1)).word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options).into_iter();
    lines.map(std::borrow::Cow::into_owned).collect()
}

/// Text on one line, with control characters and other separators of lines escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("STATUS", Fit::Whole),
            ("PATH", Fit::CutStart),
            ("WHAT", Fit::Wrap),
        ]);
        table.push(Row::new(["ok", "/etc/p", "short"].map(Cell::from)));
        let text = "a text of several words that is too long for a narrow terminal";
        let mut row = Row::new([
            Cell::new("failure", Tone::Bad),
            Cell::from("/etc/oci-apparmor/profiles/web"),
            Cell::from(text),
        ]);
        row.note("a note of several words that is too long for a narrow terminal as well");
        row.remedy("run: a command of several words that is too long for a narrow terminal");
        table.push(row);
        table
    }

    #[test]
    fn without_a_terminal_nothing_is_cut_or_wrapped() {
        assert_eq!(
            table().render(None, false),
            "STATUS   PATH                            WHAT\n\
             ok       /etc/p                          short\n\
             failure  /etc/oci-apparmor/profiles/web  a text of several words that is too long for a narrow terminal\n    \
             a note of several words that is too long for a narrow terminal as well\n    \
             -> run: a command of several words that is too long for a narrow terminal\n"
        );
    }

    #[test]
    fn on_a_terminal_it_fits_and_commands_stay_whole() {
        let text = table().render(Some(50), false);
        assert!(text.contains("failure  …parmor/profiles/web  "), "{text}");
        for line in text.lines() {
            assert!(
                line.width() <= 50 || line.contains("-> run: a command"),
                "{text}"
            );
            assert_eq!(line, line.trim_end());
        }
        let wide = table().render(Some(200), false);
        assert_eq!(wide, table().render(None, false));
        // Too narrow for anything, and still there.
        assert!(table().render(Some(1), false).contains("ok"));
    }

    #[test]
    fn only_words_with_a_meaning_are_coloured() {
        let text = table().render(None, true);
        assert!(
            text.contains("\u{1b}[1m\u{1b}[31mfailure\u{1b}[0m  /etc"),
            "{text:?}"
        );
        assert_eq!(text.matches("\u{1b}[0m").count(), 1, "{text:?}");
    }

    #[test]
    fn control_characters_are_escaped_and_wide_ones_counted() {
        let mut table = Table::new(&[("", Fit::Cut), ("", Fit::Whole)]);
        table.push(Row::new(["a\u{1b}[31m\nb", "x"].map(Cell::from)));
        table.push(Row::new(["日本語", "y"].map(Cell::from)));
        assert_eq!(
            table.render(None, false),
            "a\\u{1b}[31m\\nb  x\n日本語          y\n"
        );
        let cut = table.render(Some(12), false);
        assert_eq!(cut, "a\\u{1b}[…  x\n日本語     y\n");
    }
}
