//! YAML events → [`Node`] trees, one per document, with every size bounded.
//!
//! | bound | value | what happens beyond |
//! |---|---|---|
//! | [`DEPTH_MAX`] | 64 nested lists and mappings | the text cannot be parsed |
//! | [`NODES_MAX`] | 500,000 values in a file | the text cannot be parsed |
//! | [`ALIAS_WEIGHT_MAX`] | 1 Mi values and bytes of text copied by aliases | the text cannot be parsed |

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{Entry, Node, Style, Value};
use crate::problem::Problem;

const DEPTH_MAX: usize = 64;
const NODES_MAX: usize = 500_000;
const ALIAS_WEIGHT_MAX: usize = 1 << 20;

/// One document. Its `problems` leave the tree readable, but it may not be used.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) problems: Vec<Problem>,
}

/// Why a text is no YAML, or too much of it.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
}

impl SyntaxError {
    fn at(mark: Marker, message: impl Into<String>) -> Self {
        Self { line: mark.line() as u32, column: mark.col() as u32 + 1, message: message.into() }
    }
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        Self::at(*error.marker(), error.info())
    }
}

/// The documents of a text.
pub(crate) fn parse(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut builder = Builder::default();
    let mut documents = Vec::new();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        match event {
            Event::DocumentEnd => documents.extend(builder.finish()),
            event => builder.event(event, span.start)?,
        }
    }
    Ok(documents)
}

/// A list or mapping that is still open.
struct Open {
    anchor: usize,
    line: u32,
    column: u32,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Key>, merged: Vec<Node> },
}

struct Key {
    text: Box<str>,
    line: u32,
    is_merge: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    problems: Vec<Problem>,
    nodes: usize,
    alias_weight: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, mark: Marker) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = style_of(style, tag.as_deref());
                let node = Node {
                    line: mark.line() as u32,
                    column: mark.col() as u32 + 1,
                    value: Value::Text { text: text.into(), style },
                };
                self.complete(node, anchor, mark)
            }
            Event::SequenceStart(anchor, _) => self.push(Content::List(Vec::new()), anchor, mark),
            Event::MappingStart(anchor, _) => {
                self.push(Content::Map { entries: Vec::new(), key: None, merged: Vec::new() }, anchor, mark)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, merged, .. } => Value::Map(self.close_map(entries, merged)),
                };
                self.complete(Node { line: open.line, column: open.column, value }, open.anchor, mark)
            }
            Event::Alias(anchor) => {
                let node = self
                    .anchors
                    .get(&anchor)
                    .ok_or_else(|| SyntaxError::at(mark, "an alias inside of its own anchor"))?;
                self.alias_weight += weight(node);
                if self.alias_weight > ALIAS_WEIGHT_MAX {
                    return Err(SyntaxError::at(mark, "aliases repeat too much of the file"));
                }
                if self.open.len() + depth(node) > DEPTH_MAX {
                    return Err(too_deep(mark));
                }
                let node = node.clone();
                self.complete(node, 0, mark)
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, content: Content, anchor: usize, mark: Marker) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(mark));
        }
        self.open.push(Open { anchor, line: mark.line() as u32, column: mark.col() as u32 + 1, content });
        Ok(())
    }

    /// A whole value goes to where it belongs: list, key, value of the key, or root.
    fn complete(&mut self, node: Node, anchor: usize, mark: Marker) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(SyntaxError::at(mark, format!("more than {NODES_MAX} values in one file")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, merged }) => match key.take() {
                Some(key) if key.is_merge => merged.push(node),
                Some(Key { text, line, .. }) => entries.push(Entry { key: text, line, value: node }),
                None => {
                    let line = node.line;
                    *key = Some(if let Value::Text { text, style } = node.value {
                        Key { is_merge: style == Style::Plain && text.as_ref() == "<<", text, line }
                    } else {
                        self.problems.push(Problem::error(line, "a key must be a single word, not a list or mapping"));
                        Key { text: "{}".into(), line, is_merge: false }
                    });
                }
            },
        }
        Ok(())
    }

    /// Names duplicate keys, and adds what `<<` merges in (YAML 1.1's merge type, which Kubernetes' reader knows): own keys win.
    fn close_map(&mut self, mut entries: Vec<Entry>, merged: Vec<Node>) -> Vec<Entry> {
        let mut seen: HashSet<Box<str>> = HashSet::with_capacity(entries.len());
        for entry in &entries {
            if !seen.insert(entry.key.clone()) {
                self.problems.push(Problem::error(entry.line, format!("the key `{}` stands here twice", entry.key)));
            }
        }
        for node in merged {
            let maps = match node.value {
                Value::List(maps) => maps,
                _ => vec![node],
            };
            for map in maps {
                let Value::Map(more) = map.value else {
                    self.problems.push(Problem::error(map.line, "`<<` takes a mapping, or a list of mappings"));
                    continue;
                };
                entries.extend(more.into_iter().filter(|entry| seen.insert(entry.key.clone())));
            }
        }
        entries
    }

    fn finish(&mut self) -> Option<Document> {
        self.anchors.clear();
        let problems = std::mem::take(&mut self.problems);
        self.root.take().map(|root| Document { root, problems })
    }
}

fn too_deep(mark: Marker) -> SyntaxError {
    SyntaxError::at(mark, format!("more than {DEPTH_MAX} levels of lists and mappings"))
}

/// A tag other than `!!str` changes nothing: the type that is read says what a scalar must be.
fn style_of(style: ScalarStyle, tag: Option<&Tag>) -> Style {
    match style {
        ScalarStyle::Plain if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str") => Style::Quoted,
        ScalarStyle::Plain => Style::Plain,
        _ => Style::Quoted,
    }
}

/// Values, and bytes of text, at and below a node.
fn weight(node: &Node) -> usize {
    1 + match &node.value {
        Value::Text { text, .. } => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(entries) => entries.iter().map(|entry| entry.key.len() + weight(&entry.value)).sum(),
    }
}

/// Levels of lists and mappings at and below a node.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Text { .. } => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    }
}
