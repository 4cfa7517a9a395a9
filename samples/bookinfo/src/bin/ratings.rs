//! `ratings`: how many stars each reviewer gave. `POST /ratings/ID` with a JSON object of reviewer and stars replaces
//! them until restart.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use hyper::{Method, StatusCode};
use mizzen_bookinfo::{Reply, Request, json, port, ratings, run, serve};
use serde_json::{Map, Value, json};

/// Products whose ratings were replaced; further ones are refused, so that a client cannot fill the memory.
const REPLACED_MAX: usize = 1_000;

type Replaced = Rc<RefCell<HashMap<u64, Map<String, Value>>>>;

fn main() -> std::io::Result<()> {
    let replaced = Replaced::default();
    run(serve(port(), move |request| {
        let reply = answer(&request, &replaced);
        async { reply }
    }))
}

fn answer(request: &Request, replaced: &Replaced) -> Reply {
    let Some(id) = request.uri().path().strip_prefix("/ratings/") else {
        return error(StatusCode::NOT_FOUND, "no such page");
    };
    let Ok(id) = id.parse() else {
        return error(StatusCode::BAD_REQUEST, "please provide numeric product ID");
    };
    let shown = |ratings: &Map<String, Value>| json(StatusCode::OK, &json!({"id": id, "ratings": ratings}));
    match *request.method() {
        Method::GET => replaced.borrow().get(&id).map_or_else(|| json(StatusCode::OK, &ratings(id)), shown),
        Method::POST => {
            let Ok(new) = serde_json::from_slice::<Map<String, Value>>(request.body()) else {
                return error(StatusCode::BAD_REQUEST, "please provide valid ratings JSON");
            };
            let mut replaced = replaced.borrow_mut();
            if replaced.len() >= REPLACED_MAX && !replaced.contains_key(&id) {
                return error(StatusCode::INSUFFICIENT_STORAGE, "too many rated products");
            }
            let reply = shown(&new);
            replaced.insert(id, new);
            reply
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
    }
}

fn error(status: StatusCode, message: &str) -> Reply {
    json(status, &json!({"error": message}))
}
