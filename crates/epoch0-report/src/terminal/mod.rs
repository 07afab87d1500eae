//! The same in short, for a terminal.

mod chart;
mod document;
mod table;

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use epoch0_method::reading::Severity;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{Document, words};

pub(crate) use document::{comparison, examination, relation, training};

const HEADING: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();

/// Narrower terminals are taken to be this wide.
const NARROWEST: usize = 24;
/// Wider lines of text are hard to read.
const WIDEST_TEXT: usize = 100;

/// Letters that ASCII has words for.
const SPELLED: [(char, &str); 14] = [
    ('–', "-"),
    ('−', "-"),
    ('×', "x"),
    ('·', "."),
    ('±', "+/-"),
    ('…', ".."),
    ('√', "sqrt "),
    ('χ', "chi"),
    ('λ', "lambda"),
    ('σ', "sigma"),
    ('‘', "'"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
];

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; no line is wider. Less than 24 is taken as 24.
    pub width: usize,
    /// Whether it shows colors.
    pub color: bool,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

impl Terminal {
    /// A document in short.
    pub fn text<D: Document>(&self, document: &D) -> String {
        let mut lines =
            Lines { terminal: Self { width: self.width.max(NARROWEST), ..*self }, out: String::new() };
        document.lines(&mut lines);
        lines.out
    }
}

/// Lines for a terminal, as they are written.
pub struct Lines {
    terminal: Terminal,
    out: String,
}

/// Words in a style.
type Span<'a> = (Style, Cow<'a, str>);

impl Lines {
    fn width(&self) -> usize {
        self.terminal.width
    }

    /// Of two texts the one that the terminal can show.
    fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.terminal.unicode { unicode } else { ascii }
    }

    /// Text of others as the terminal can show it.
    fn plain(&self, text: &str) -> String {
        let text = words::clean(text);
        if self.terminal.unicode || text.is_ascii() {
            return text.into_owned();
        }
        let mut out = String::new();
        let mut was_raised = false;
        for letter in text.chars() {
            let raised = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻".chars().zip("0123456789-".chars()).find(|(from, _)| *from == letter);
            if let Some((_, digit)) = raised {
                if !was_raised {
                    out.push('^');
                }
                out.push(digit);
            } else {
                match SPELLED.iter().find(|(from, _)| *from == letter) {
                    Some((_, spelled)) => out.push_str(spelled),
                    None => out.push(if letter.is_ascii() { letter } else { '?' }),
                }
            }
            was_raised = raised.is_some();
        }
        out
    }

    /// Writes a line. What is too wide is cut.
    fn line(&mut self, spans: &[Span<'_>]) {
        let mut left = self.width();
        for (style, text) in spans {
            let text = head(text, left);
            left -= text.width();
            if self.terminal.color && *style != PLAIN && !text.is_empty() {
                self.out += &format!("{style}{text}{style:#}");
            } else {
                self.out += text;
            }
        }
        let end = self.out.trim_end_matches(' ').len();
        self.out.truncate(end);
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.blank();
        self.paragraph(&[], 0, HEADING, text);
    }

    /// The title of something within a section.
    fn title(&mut self, text: &str) {
        self.blank();
        self.paragraph(&[], 2, BOLD, text);
    }

    /// Writes text in as many lines as it takes, each after an indent; the first after `lead`.
    fn paragraph(&mut self, lead: &[Span<'_>], indent: usize, style: Style, text: &str) {
        let text = self.plain(text);
        let room = self.width().min(WIDEST_TEXT).saturating_sub(indent).max(1);
        let pieces = wrap(&text, room);
        for (at, piece) in pieces.iter().enumerate() {
            let mut spans: Vec<Span<'_>> = if at == 0 { lead.to_vec() } else { Vec::new() };
            let used: usize = spans.iter().map(|(_, text)| text.width()).sum();
            spans.push((PLAIN, " ".repeat(indent.saturating_sub(used)).into()));
            spans.push((style, piece.as_str().into()));
            self.line(&spans);
        }
    }

    /// A name and what is said of it, in a column beside it.
    fn fact(&mut self, name: &str, style: Style, text: &str) {
        if !text.is_empty() {
            self.paragraph(&[(PLAIN, "  ".into()), (FAINT, name.into())], 12, style, text);
        }
    }

    /// Sign of a severity.
    fn sign(&self, severity: Severity) -> Span<'static> {
        let unicode = words::severity(severity).0;
        let ascii = match severity {
            Severity::Ok => "+",
            Severity::Note => "i",
            Severity::Warn => "!",
            Severity::Bad => "x",
        };
        (tone(severity), if self.terminal.unicode { unicode } else { ascii }.into())
    }
}

/// Style of a severity.
fn tone(severity: Severity) -> Style {
    match severity {
        Severity::Ok => AnsiColor::Green.on_default().bold(),
        Severity::Note => AnsiColor::Cyan.on_default().bold(),
        Severity::Warn => AnsiColor::Yellow.on_default().bold(),
        Severity::Bad => AnsiColor::Red.on_default().bold(),
    }
}

/// The beginning of a text that is no wider than `width`.
fn head(text: &str, width: usize) -> &str {
    if text.width() <= width {
        return text;
    }
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        let next = at + letter.len_utf8();
        if text[..next].width() > width {
            break;
        }
        end = next;
    }
    &text[..end]
}

/// A name no wider than `width`, without its middle where it is too long.
fn middle_cut(text: &str, width: usize, sign: &str) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(sign.width());
    let front = head(text, room / 2);
    let mut back = text.len();
    for (at, _) in text.char_indices().rev() {
        if text[at..].width() > room - front.width() {
            break;
        }
        back = at;
    }
    head(&format!("{front}{sign}{}", &text[back..]), width).to_owned()
}

/// Lines no wider than `width`; words that are longer are broken.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let needed = word.width() + usize::from(used > 0);
        if used + needed > width && used > 0 {
            lines.push(String::new());
            used = 0;
        }
        if word.width() > width {
            for letter in word.chars() {
                let size = letter.width().unwrap_or(0);
                if used + size > width && used > 0 {
                    lines.push(String::new());
                    used = 0;
                }
                if let Some(line) = lines.last_mut() {
                    line.push(letter);
                }
                used += size;
            }
        } else if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += word.width();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_by_its_width() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn names_lose_their_middle() {
        assert_eq!(middle_cut("layer4.2.conv3.weight", 11, "…"), "layer…eight");
        assert_eq!(middle_cut("short", 11, "…"), "short");
        assert_eq!(middle_cut("日本語日本語", 5, "…"), "日…語");
    }
}
