//! Pages: well-formed, self-contained, whatever is in them.

use std::cell::RefCell;

use crate::made_up;
use epoch0_method::reading::{Comparison, Examination, Reading, Relation, Training, Versions};
use epoch0_report::{data, html, json};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states,
};

/// Elements that have no end tag.
const VOID: [&str; 3] = ["meta", "input", "wbr"];

/// A page's elements as a browser reads them.
#[derive(Default)]
struct Elements {
    open: RefCell<Vec<String>>,
    tags: RefCell<Vec<Tag>>,
    errors: RefCell<Vec<String>>,
}

impl TokenSink for Elements {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut open = self.open.borrow_mut();
        match token {
            Token::ParseError(error) => self.errors.borrow_mut().push(error.into_owned()),
            Token::NullCharacterToken => self.errors.borrow_mut().push("a null character".to_owned()),
            Token::TagToken(tag) => {
                let name = tag.name.to_string();
                match tag.kind {
                    TagKind::StartTag if VOID.contains(&name.as_str()) => {}
                    TagKind::StartTag => open.push(name.clone()),
                    TagKind::EndTag => {
                        let last = open.pop();
                        if last.as_deref() != Some(name.as_str()) {
                            self.errors.borrow_mut().push(format!("</{name}> ends {last:?}"));
                        }
                    }
                }
                let is_start = tag.kind == TagKind::StartTag;
                self.tags.borrow_mut().push(tag);
                match name.as_str() {
                    "script" if is_start => {
                        return TokenSinkResult::RawData(states::RawKind::ScriptData);
                    }
                    "style" if is_start => return TokenSinkResult::RawData(states::RawKind::Rawtext),
                    _ => {}
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Start tags of a page, which has to be well-formed.
pub(crate) fn tags(page: &str) -> Vec<Tag> {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(page));
    let options = TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(Elements::default(), options);
    assert!(matches!(tokenizer.feed(&queue), html5ever::TokenizerResult::Done));
    tokenizer.end();
    let elements = tokenizer.sink;
    assert_eq!(*elements.errors.borrow(), Vec::<String>::new());
    assert_eq!(*elements.open.borrow(), Vec::<String>::new(), "every element is ended");
    elements.tags.into_inner().into_iter().filter(|tag| tag.kind == TagKind::StartTag).collect()
}

/// An attribute's value.
pub(crate) fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("healthy", html(&made_up::healthy())),
        ("vanishing", html(&made_up::vanishing())),
        ("chaotic", html(&made_up::chaotic())),
        ("hostile", html(&made_up::hostile())),
        ("comparison", html(&made_up::comparison())),
        ("training", html(&made_up::training())),
    ]
}

#[test]
fn pages_are_well_formed() {
    for (name, page) in pages() {
        assert!(tags(&page).len() > 50, "{name}");
    }
}

#[test]
fn pages_hold_no_element_that_a_name_made() {
    let known = [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "div",
        "header",
        "span",
        "button",
        "main",
        "h1",
        "h2",
        "h3",
        "bdi",
        "wbr",
        "section",
        "p",
        "dl",
        "dt",
        "dd",
        "small",
        "strong",
        "nav",
        "ul",
        "li",
        "figure",
        "figcaption",
        "svg",
        "desc",
        "g",
        "path",
        "rect",
        "circle",
        "text",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "label",
        "input",
        "details",
        "summary",
        "code",
        "footer",
        "script",
    ];
    for (name, page) in pages() {
        let tags = tags(&page);
        for tag in &tags {
            assert!(known.contains(&&*tag.name), "{name}: <{}>", tag.name);
            for attribute in &tag.attrs {
                assert!(!attribute.name.local.starts_with("on"), "{name}: {attribute:?}");
            }
        }
        assert_eq!(tags.iter().filter(|tag| &*tag.name == "script").count(), 2, "{name}");
    }
}

#[test]
fn pages_load_nothing() {
    for (name, page) in pages() {
        for tag in tags(&page) {
            for loads in ["src", "srcset", "data", "poster", "background", "action", "formaction", "ping"] {
                assert_eq!(attribute(&tag, loads), None, "{name}: <{}>", tag.name);
            }
            if let Some(target) = attribute(&tag, "href") {
                assert!(target.starts_with('#'), "{name}: {target}");
            }
            if let Some(style) = attribute(&tag, "style") {
                assert!(!style.contains("url("), "{name}: {style}");
            }
        }
        if name != "hostile" {
            for outside in ["http:", "https:", "url(", "@import", "src="] {
                assert!(!page.contains(outside), "{name} has {outside}");
            }
        }
        assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"), "{name}");
    }
}

#[test]
fn ids_are_unique_and_references_lead_somewhere() {
    for (name, page) in pages() {
        let tags = tags(&page);
        let mut ids: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag, "id")).collect();
        let n = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n, "{name}");
        for tag in &tags {
            for reference in ["aria-labelledby", "aria-describedby"] {
                if let Some(id) = attribute(tag, reference) {
                    assert!(ids.contains(&id), "{name}: {id}");
                }
            }
            if let Some(target) = attribute(tag, "href") {
                assert!(ids.contains(&&target[1..]), "{name}: {target}");
            }
        }
    }
}

#[test]
fn figures_and_tables_are_named() {
    for (name, page) in pages() {
        for tag in tags(&page) {
            let has = |attributes: &[&str]| attributes.iter().any(|it| attribute(&tag, it).is_some());
            match &*tag.name {
                "svg" => assert!(has(&["aria-labelledby", "aria-hidden"]), "{name}: {tag:?}"),
                "table" | "nav" | "section" | "input" => {
                    assert!(has(&["aria-labelledby", "aria-label"]), "{name}: {tag:?}");
                }
                "th" => assert!(has(&["scope"]), "{name}: {tag:?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn the_verdict_stands_first() {
    let page = html(&made_up::vanishing());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    let order = [
        "Vanishing",
        "Outputs shrink by a factor 0.50",
        "layers.14.weight",
        "should be at least 0.0001",
        "Start with he_normal",
        "256 random inputs",
        "Signal through depth",
    ];
    for pair in order.windows(2) {
        assert!(at(pair[0]) < at(pair[1]), "{pair:?}");
    }
    assert!(page.contains("No data were given"));
    assert!(!html(&made_up::healthy()).contains("No data were given"));
}

#[test]
fn a_page_gives_its_data_back() {
    fn back<T: serde::de::DeserializeOwned + epoch0_report::Document>(document: &T) {
        let page = html(document);
        let read: T = serde_json::from_str(data(&page).unwrap()).unwrap();
        assert_eq!(json(&read), json(document));
    }
    back::<Examination>(&made_up::healthy());
    back::<Examination>(&made_up::hostile());
    back::<Comparison>(&made_up::comparison());
    back::<Training>(&made_up::training());
    back::<Relation>(&Relation {
        title: "<a> and b".to_owned(),
        outcome: "drifted".to_owned(),
        summary: "Of 2 tensors: 1 drifted, 1 same.".to_owned(),
        facts: vec![("A".to_owned(), "<a>".to_owned())],
        readings: vec![Reading::new("diff", "Tensors", "")],
        versions: Versions::new(),
    });
    assert_eq!(data("<html></html>"), None);
}

#[test]
fn a_page_of_a_hundred_layers_is_small() {
    let size = html(&made_up::vanishing()).len();
    assert!(size < 300_000, "{size} bytes");
}

#[test]
fn troubles_are_said_in_words() {
    let page = html(&made_up::hostile());
    for text in [
        "3 of 7 values are not finite",
        "values are not positive, without a place on a logarithmic axis",
        "There is nothing to draw",
        "This table has no rows",
        "\\u{202e}gnp.exe",
    ] {
        assert!(page.contains(text), "{text}");
    }
}
