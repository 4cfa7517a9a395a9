//! The text of a file → its objects, and all there is to say about the rest.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    Spec,
    enforced::{self, Unenforced},
    finding::{FileResult, Finding, NotUsed, Rejection, Severity},
    manifest::{self, Identity},
    node::{self, Document, Node, SyntaxError, Value},
    object::{Object, ObjectId, Origin},
    problem::{Problem, Problems},
    validate,
};

/// A file larger than this is not read.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// The mark of a template that another program still has to fill in.
const TEMPLATE_MARK: &str = "{{";

/// Reads `text`, YAML (any number of documents) or JSON. `file` is its name as findings shall print it; it is not opened.
///
/// Errors are values: a text that cannot be parsed gives [`FileResult::unparsable`], a bad object a [`Rejection`].
///
/// ```
/// let result = mizzen_api::load("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}");
/// let text = result.rejected[0].findings[0].to_string();
/// assert_eq!(text, "error: Service/default/a: spec.prots: unknown field `prots`; did you mean `ports`? (a.yaml:4)");
/// ```
pub fn load(file: &str, text: &str) -> FileResult {
    let file: Arc<str> = file.into();
    let mut result = FileResult { blank: is_blank(text), ..FileResult::default() };
    if text.len() > FILE_BYTES_MAX {
        let error = SyntaxError { line: 0, column: 0, message: format!("larger than {} MiB", FILE_BYTES_MAX >> 20) };
        result.unparsable = Some(unparsable(&file, &error));
        return result;
    }
    // Cheap, and exact: no object is without this key. It spares parsing every lock file of a repository.
    if !text.contains("apiVersion") {
        if !result.blank {
            result.not_used.push(NotUsed { what: "no Kubernetes object".into(), line: 1 });
        }
        return result;
    }
    let json = std::path::Path::new(&*file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    // JSON may be indented with tabs, YAML may not; inside of a JSON string a tab is always escaped.
    let parsed = if json && text.contains('\t') { node::parse(&text.replace('\t', " ")) } else { node::parse(text) };
    match parsed {
        Ok(documents) => {
            let mut loader = Loader { templated: text.contains(TEMPLATE_MARK), file, result };
            for document in documents {
                loader.document(document);
            }
            loader.result
        }
        Err(error) => {
            if text.contains(TEMPLATE_MARK) {
                result.foreign = Some(NotUsed { what: "a template".into(), line: error.line });
            }
            result.unparsable = Some(unparsable(&file, &error));
            result
        }
    }
}

/// Whether a text is what an editor leaves for a moment: nothing, or a fragment without a single key. Comments alone are content.
fn is_blank(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_none() || lines.all(|line| !line.starts_with('#') && !line.contains(':'))
}

fn unparsable(file: &Arc<str>, error: &SyntaxError) -> Finding {
    let place = if error.column > 0 { format!(" (column {})", error.column) } else { String::new() };
    Finding {
        severity: Severity::Error,
        object: None,
        path: String::new(),
        file: Arc::clone(file),
        line: error.line,
        message: format!("the file cannot be parsed: {}{place}", error.message),
        hint: None,
    }
}

struct Loader {
    file: Arc<str>,
    templated: bool,
    result: FileResult,
}

impl Loader {
    fn document(&mut self, document: Document) {
        if document.root.is_null() {
            return;
        }
        self.node(&document.root, document.problems, None);
    }

    /// An object, or a list of them. `inherited` is the version and kind of the items of a typed list, which may leave them out.
    fn node(&mut self, node: &Node, problems: Vec<Problem>, inherited: Option<(&str, &str)>) {
        let api_version = node.get("apiVersion").and_then(Node::text).or(inherited.map(|(version, _)| version));
        let kind = node.get("kind").and_then(Node::text).or(inherited.map(|(_, kind)| kind));
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            return self.not_used(node, "no Kubernetes object");
        };
        if let (Some(item_kind), Some(Value::List(items))) =
            (kind.strip_suffix("List"), node.get("items").map(|items| &items.value))
        {
            let inherited = (!item_kind.is_empty()).then_some((api_version, item_kind));
            let mut problems = Some(problems);
            for item in items {
                // What is wrong with a list's syntax is said once, and keeps its first object out.
                self.node(item, problems.take().unwrap_or_default(), inherited);
            }
            return;
        }
        match crate::Kind::from_manifest(api_version, kind) {
            Some(known) => self.object(known, node, problems),
            None => self.not_used(node, &format!("{api_version} {kind}")),
        }
    }

    fn not_used(&mut self, node: &Node, what: &str) {
        self.result.not_used.push(NotUsed { what: what.into(), line: node.line });
    }

    fn object(&mut self, kind: crate::Kind, node: &Node, syntax: Vec<Problem>) {
        if self.templated && manifest::is_template(node) {
            return self.not_used(node, "a template");
        }
        let problems = Problems::from(syntax);
        let identity = manifest::identity(kind, node, &problems);
        let spec = manifest::spec(kind, node, &problems);
        // A field that could not be read would only be missed a second time.
        if let Some(spec) = spec.as_ref().filter(|_| !problems.has_errors()) {
            validate::spec(spec, &problems);
        }
        let problems = problems.into_vec();
        let refused = problems.iter().any(Problem::is_error);
        match (identity, spec) {
            (Some(identity), Some(spec)) if !refused => self.accept(identity, spec, node, problems),
            (identity, _) => self.reject(identity.map(|identity| identity.id), node, problems),
        }
    }

    fn reject(&mut self, object: Option<ObjectId>, node: &Node, problems: Vec<Problem>) {
        let lines = node.line_map();
        let findings =
            problems.into_iter().map(|problem| problem.into_finding(object.as_ref(), &self.file, &lines)).collect();
        self.result.rejected.push(Rejection { object, findings });
    }

    fn accept(&mut self, identity: Identity, spec: Spec, node: &Node, mut problems: Vec<Problem>) {
        let Identity { id, meta } = identity;
        let lines = node.line_map();
        let unenforced = enforced::of(id.kind, node);
        problems.extend(unenforced.iter().map(Unenforced::to_problem));
        let findings =
            problems.into_iter().map(|problem| problem.into_finding(Some(&id), &self.file, &lines)).collect();
        self.result.objects.push(Object {
            refuses_traffic: unenforced.iter().any(|field| field.restricts),
            meta: Arc::new(meta),
            spec,
            origin: Origin { file: Arc::clone(&self.file), line: node.line },
            lines: Arc::new(lines),
            findings,
            unenforced: unenforced.into(),
            id,
        });
    }
}
