//! What is said when the kernel refuses, and what is polled then.

use notify::{Error, ErrorKind};

use super::{INSTANCES_SYSCTL, WATCHES_SYSCTL, Watcher, notice};

#[test]
fn limits_are_named_with_their_remedy() {
    let finding = notice(&Error::new(ErrorKind::MaxFilesWatch), WATCHES_SYSCTL).to_string();
    assert!(finding.contains("`fs.inotify.max_user_watches` is reached"), "{finding}");
    assert!(finding.ends_with("sudo sysctl fs.inotify.max_user_watches=524288"), "{finding}");
    let too_many = Error::io(std::io::Error::from_raw_os_error(24));
    assert!(notice(&too_many, INSTANCES_SYSCTL).message.contains("fs.inotify.max_user_instances"));
    let other = notice(&Error::generic("no inotify"), WATCHES_SYSCTL);
    assert!(other.message.contains("cannot be watched (no inotify)") && other.hint.is_none(), "{other}");
}

#[test]
fn beyond_the_bound_directories_are_polled() {
    let mut watcher = Watcher::new(1, |_| {});
    let directory = std::env::temp_dir();
    watcher.watch(&directory);
    assert!(watcher.polled().is_empty() && watcher.notice().is_none());
    watcher.watch(std::path::Path::new("/"));
    assert_eq!(watcher.polled().len(), 1);
    assert!(watcher.notice().is_some_and(|finding| finding.message.contains("more than 1 directories")));
    watcher.unwatch(std::path::Path::new("/"));
    assert!(watcher.notice().is_none());
}
