//! Which program a container runs on this machine.
//!
//! The annotation `mizzen.io/local-command` (`….CONTAINER` for one of several) wins over the container's own `command`
//! and `args`; it is split as a shell would split it, and no shell runs.
//! A program is looked for relative to the directory of the YAML file, then in `PATH`, then beside `mizzen` itself.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use mizzen_api::k8s;

use super::{Trouble, annotation_path};

/// On the pod template: what runs instead of the container's image.
const LOCAL_COMMAND: &str = "mizzen.io/local-command";

/// Where programs lie.
pub(crate) struct Programs<'a> {
    /// In the order in which they are searched.
    pub(crate) directories: &'a [PathBuf],
    /// Whether a path can be executed.
    pub(crate) is_program: &'a dyn Fn(&Path) -> bool,
    /// Whether a path is a directory.
    pub(crate) is_directory: &'a dyn Fn(&Path) -> bool,
}

impl fmt::Debug for Programs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("directories", &self.directories).finish_non_exhaustive()
    }
}

impl Programs<'_> {
    /// `word` as a program: relative to `home`, else, if it is a bare name, in the directories.
    fn find(&self, word: &str, home: &Path) -> Option<PathBuf> {
        let near = home.join(word);
        if (self.is_program)(&near) {
            return Some(near);
        }
        let bare = !word.contains('/') && !word.is_empty();
        self.directories
            .iter()
            .filter(|_| bare)
            .map(|directory| directory.join(word))
            .find(|path| (self.is_program)(path))
    }
}

/// A program and its arguments, `$(NAME)` in them not yet replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The annotation decided.
    pub(super) is_local: bool,
}

/// `path` is the container's field path, `home` the directory of its YAML file.
pub(super) fn command(
    container: &k8s::Container,
    path: &str,
    annotations: &BTreeMap<String, String>,
    (home, programs): (&Path, &Programs<'_>),
) -> Result<Command, Trouble> {
    let own = format!("{LOCAL_COMMAND}.{}", container.name);
    let local = [own.as_str(), LOCAL_COMMAND].into_iter().find_map(|key| Some((key, annotations.get(key)?)));
    let (mut words, at, is_local) = if let Some((key, line)) = local {
        let at = annotation_path(key);
        let words = shell_words::split(line).map_err(|error| Trouble::new(&at, format!("`{line}`: {error}")))?;
        (words, at, true)
    } else {
        let mut words = container.command.clone().unwrap_or_default();
        if words.is_empty() {
            return Err(image_only(container, path));
        }
        words.extend(container.args.iter().flatten().cloned());
        (words, format!("{path}.command"), false)
    };
    if words.is_empty() {
        return Err(Trouble::new(at, "an empty command"));
    }
    let word = words.remove(0);
    let Some(program) = programs.find(&word, home) else {
        let message = format!("no program `{word}` beside the YAML file or in PATH");
        let hint = (!is_local).then(|| annotation(&container.name));
        return Err(Trouble { path: at, message, hint });
    };
    Ok(Command { program, arguments: words, is_local })
}

fn image_only(container: &k8s::Container, path: &str) -> Trouble {
    let image = container.image.as_deref().unwrap_or("none");
    let message =
        format!("container `{}` has only an image ({image}): say on the pod template what runs here", container.name);
    Trouble { path: path.to_owned(), message, hint: Some(annotation(&container.name)) }
}

/// A line to paste.
fn annotation(container: &str) -> String {
    format!("{LOCAL_COMMAND}.{container}: ./bin/{container} --port 8080")
}
