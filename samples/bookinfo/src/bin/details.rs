//! `details`: the book's bibliographic details.

use hyper::StatusCode;
use mizzen_bookinfo::{Reply, Request, details, json, port, run, serve};
use serde_json::json;

fn main() -> std::io::Result<()> {
    run(serve(port(), async |request| answer(&request)))
}

fn answer(request: &Request) -> Reply {
    let Some(id) = request.uri().path().strip_prefix("/details/") else {
        return json(StatusCode::NOT_FOUND, &json!({"error": "no such page"}));
    };
    match id.parse() {
        Ok(id) => json(StatusCode::OK, &details(id)),
        Err(_) => json(StatusCode::BAD_REQUEST, &json!({"error": "please provide numeric product id"})),
    }
}
