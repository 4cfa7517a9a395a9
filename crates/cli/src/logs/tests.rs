//! Bounds of log files, and which files belong to whom.

use super::*;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mizzen-logs-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a scratch directory can be made");
    path
}

#[test]
fn a_full_file_begins_anew_and_one_older_part_is_kept() {
    let directory = scratch("rotate");
    let path = directory.join("a.log");
    let mut file = LogFile::open(path.clone(), 10).expect("it can be opened");
    for line in ["1234\n", "5678\n", "abcd\n", "efgh\n", "ijkl\n"] {
        file.write_all(line.as_bytes()).expect("it can be written");
    }
    assert_eq!(fs::read_to_string(&path).expect("current"), "ijkl\n");
    assert_eq!(fs::read_to_string(older(&path)).expect("older"), "abcd\nefgh\n");

    let mut shown = Vec::new();
    print(&[path], false, &mut shown).expect("it can be read");
    assert_eq!(String::from_utf8_lossy(&shown), "abcd\nefgh\nijkl\n");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_workloads_files_are_found_by_its_name() {
    let directory = scratch("names");
    let shop = |name: &str| Name::new("shop", name);
    let sources = [
        Source::ControlPlane,
        Source::Proxy { workload: shop("reviews-v1"), ordinal: 0 },
        Source::App { workload: shop("reviews-v1"), ordinal: 0, container: "web".into() },
        Source::App { workload: shop("reviews-v1"), ordinal: 1, container: "web".into() },
        Source::App { workload: shop("reviews"), ordinal: 0, container: "web".into() },
        Source::App { workload: Name::new("other", "reviews-v1"), ordinal: 0, container: "web".into() },
    ];
    for source in &sources {
        LogFile::open(source.path(&directory), LOG_BYTES_MAX).expect("it can be opened");
    }
    let cases: &[(&str, LogSource, &[&str])] = &[
        ("mizzend", LogSource::App, &["mizzend.log"]),
        ("shop/reviews-v1", LogSource::Proxy, &["reviews-v1-0.proxy.log"]),
        ("shop/reviews-v1", LogSource::App, &["reviews-v1-0.app.web.log", "reviews-v1-1.app.web.log"]),
        ("shop/reviews-v1-1", LogSource::App, &["reviews-v1-1.app.web.log"]),
        ("reviews", LogSource::App, &["reviews-0.app.web.log"]),
        ("ratings", LogSource::App, &[]),
    ];
    for (workload, source, wanted) in cases {
        let found = files_of(&directory, workload, *source).unwrap_or_default();
        let found: Vec<String> =
            found.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
        assert_eq!(found, *wanted, "{workload}");
    }
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_followed_file_may_be_replaced_between_two_looks() {
    let directory = scratch("follow");
    let path = directory.join("a.log");
    fs::write(&path, "one\ntw").expect("it can be written");
    let file = File::open(&path).expect("it exists");
    let mut tail = Tail { path: path.clone(), prefix: "a | ".into(), file, partial: Vec::new() };
    let mut shown = Vec::new();
    tail.catch_up(&mut shown).expect("it can be read");
    OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"o\n")).expect("it can be written");
    fs::rename(&path, older(&path)).expect("it can be renamed");
    fs::write(&path, "three\n").expect("it can be written");
    tail.catch_up(&mut shown).expect("it can be read");
    assert_eq!(String::from_utf8_lossy(&shown), "a | one\na | two\na | three\n");
    let _ = fs::remove_dir_all(directory);
}

#[tokio::test]
async fn what_a_process_writes_ends_up_in_its_file() {
    let directory = scratch("pipe");
    let logs = Logs::start(directory.clone()).expect("it can be started");
    let (out, error) = logs.pipe(Source::ControlPlane).expect("a pipe can be made");
    File::from(out).write_all(b"to stdout\n").expect("somebody reads");
    File::from(error).write_all(b"to stderr\n").expect("somebody reads");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let path = directory.join("mizzend.log");
    while fs::read_to_string(&path).is_ok_and(|text| text.len() < 20) {
        assert!(tokio::time::Instant::now() < deadline, "nothing arrived");
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read_to_string(&path).expect("it exists"), "to stdout\nto stderr\n");
    let _ = fs::remove_dir_all(directory);
}
