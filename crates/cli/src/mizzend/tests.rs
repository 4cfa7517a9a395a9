//! The client against a scripted peer on a Unix socket.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::*;

/// Answers one request with `answer`, and returns what was asked.
async fn exchange<T>(name: &str, answer: &str, ask: impl AsyncFnOnce(Mizzend) -> T) -> (String, T) {
    let path = std::env::temp_dir().join(format!("mizzen-{name}-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("the socket can be made");
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).await.expect("it sends");
        stream.write_all(answer.as_bytes()).await.expect("it reads");
        String::from_utf8_lossy(&asked[..read]).into_owned()
    };
    let answered = tokio::join!(serve, ask(Mizzend::at(Path::new(&path).to_path_buf())));
    let _ = std::fs::remove_file(&path);
    answered
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_wait_that_times_out_is_no_error() {
    let answer = http("504 Gateway Timeout", r#"{"applied":1,"total":2}"#);
    let (asked, progress) =
        exchange("wait", &answer, async |mizzend| mizzend.wait(7, Duration::from_millis(1500)).await).await;
    assert!(asked.starts_with("GET /v1/wait?generation=7&timeout_ms=1500 HTTP/1.1\r\n"), "{asked}");
    assert_eq!(progress.expect("an answer"), Progress::Pending);

    let answer = http("200 OK", r#"{"applied":2,"total":2,"ms":21.0,"generation":7}"#);
    let (_, progress) = exchange("waited", &answer, async |mizzend| mizzend.wait(7, Duration::ZERO).await).await;
    assert_eq!(progress.expect("an answer"), Progress::Applied);
}

#[tokio::test]
async fn an_error_carries_the_body() {
    let answer = http("400 Bad Request", "no such pod");
    let (_, token) = exchange("token", &answer, async |mizzend| mizzend.token("a", "b", "c").await).await;
    let error = token.expect_err("refused").to_string();
    assert!(error.contains("400") && error.contains("no such pod"), "{error}");
}

#[tokio::test]
async fn runtime_objects_go_as_a_list() {
    let answer = http("200 OK", r#"{"generation":3}"#);
    let objects = [json!({"kind": "Pod"})];
    let (asked, generation) = exchange("put", &answer, async |mizzend| mizzend.put_runtime(&objects).await).await;
    assert_eq!(generation.expect("an answer"), 3);
    assert!(
        asked.starts_with("PUT /v1/runtime ")
            && asked.ends_with(r#"{"apiVersion":"v1","items":[{"kind":"Pod"}],"kind":"List"}"#),
        "{asked}"
    );
}
