//! `productpage`: the shop's page, put together from `details` and `reviews`; and the same facts as JSON under
//! `/api/v1`.

use std::time::Duration;

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{COOKIE, HeaderValue, LOCATION, SET_COOKIE},
};
use mizzen_bookinfo::{
    Client, Reply, Request, Section, Upstream, forwarded, html, index_page, json, port, product_page, products, run,
    serve, text,
};
use serde_json::json;

/// As in Istio's sample: each part of the page has 3 s, and reviews are asked for twice.
const DEADLINE: Duration = Duration::from_secs(3);
const STYLE: &str =
    "body{font-family:sans-serif;max-width:50em;margin:2em auto}.error{color:#b00}.pod{color:#777}dt{font-weight:bold}";

fn main() -> std::io::Result<()> {
    let shop = Shop {
        details: Upstream::named("details"),
        reviews: Upstream::named("reviews"),
        ratings: Upstream::named("ratings"),
        client: Client::default(),
    };
    run(serve(port(), move |request| {
        let shop = shop.clone();
        async move { shop.answer(&request).await }
    }))
}

#[derive(Clone)]
struct Shop {
    details: Upstream,
    reviews: Upstream,
    ratings: Upstream,
    client: Client,
}

impl Shop {
    async fn answer(&self, request: &Request) -> Reply {
        let user = user(request.headers());
        let headers = outgoing(request, user.as_deref());
        match (request.method(), request.uri().path()) {
            (_, "/" | "/index.html") => html(StatusCode::OK, index_page()),
            (_, "/productpage") => {
                let (details, reviews) = tokio::join!(self.details(0, &headers), self.reviews(0, &headers));
                html(StatusCode::OK, product_page(user.as_deref(), &section(details), &section(reviews)))
            }
            (&Method::POST, "/login") => session(&login(request.body())),
            (_, "/logout") => session("user=; Path=/; Max-Age=0"),
            (_, "/static/shop.css") => style(),
            (_, "/api/v1/products") => json(StatusCode::OK, &products()),
            (_, path) => match path.strip_prefix("/api/v1/products/") {
                Some(product) => self.api(product, &headers).await,
                None => text(StatusCode::NOT_FOUND, "no such page"),
            },
        }
    }

    /// `ID`, `ID/reviews`, `ID/ratings`
    async fn api(&self, product: &str, headers: &HeaderMap) -> Reply {
        let (id, part) = product.split_once('/').unwrap_or((product, ""));
        let Ok(id) = id.parse() else {
            return json(StatusCode::BAD_REQUEST, &json!({"error": "please provide numeric product id"}));
        };
        let (status, section) = match part {
            "" => self.details(id, headers).await,
            "reviews" => self.reviews(id, headers).await,
            "ratings" => self.part(&self.ratings.url(&format!("/ratings/{id}")), headers).await,
            _ => (StatusCode::NOT_FOUND, Err("no such page".to_owned())),
        };
        json(status, &section.unwrap_or_else(|error| json!({"error": error})))
    }

    async fn details(&self, id: u64, headers: &HeaderMap) -> (StatusCode, Section) {
        self.part(&self.details.url(&format!("/details/{id}")), headers).await
    }

    async fn reviews(&self, id: u64, headers: &HeaderMap) -> (StatusCode, Section) {
        let url = self.reviews.url(&format!("/reviews/{id}"));
        match self.part(&url, headers).await {
            (_, Err(_)) => self.part(&url, headers).await,
            found => found,
        }
    }

    async fn part(&self, url: &str, headers: &HeaderMap) -> (StatusCode, Section) {
        match self.client.fetch(url, headers, DEADLINE).await {
            Ok(answer) if answer.status.is_success() => match serde_json::from_slice(&answer.body) {
                Ok(value) => (StatusCode::OK, Ok(value)),
                Err(error) => (StatusCode::BAD_GATEWAY, Err(format!("not JSON: {error}"))),
            },
            Ok(answer) => (answer.status, Err(answer.status.to_string())),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Err(error.to_string())),
        }
    }
}

fn outgoing(request: &Request, user: Option<&str>) -> HeaderMap {
    let mut headers = forwarded(request.headers());
    if let Some(user) = user.and_then(|user| HeaderValue::from_str(user).ok()) {
        headers.insert("end-user", user);
    }
    headers
}

fn section((_, section): (StatusCode, Section)) -> Section {
    section
}

fn user(headers: &HeaderMap) -> Option<String> {
    let cookies =
        headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    let mut named = cookies.filter_map(|cookie| cookie.trim().strip_prefix("user="));
    named.next().filter(|user| !user.is_empty()).map(str::to_owned)
}

/// The cookie for a form's `username`; letters, digits and a few marks only, which need no quoting anywhere.
fn login(form: &[u8]) -> String {
    let form = String::from_utf8_lossy(form);
    let name = form.split('&').find_map(|pair| pair.strip_prefix("username=")).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(64).collect();
    format!("user={name}; Path=/; HttpOnly; SameSite=Lax")
}

fn session(cookie: &str) -> Reply {
    let mut reply = text(StatusCode::SEE_OTHER, "");
    reply.headers_mut().insert(LOCATION, HeaderValue::from_static("/productpage"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

fn style() -> Reply {
    let mut reply = text(StatusCode::OK, STYLE);
    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("text/css"));
    reply
}
