//! `reviews`: what people say. Version v1 shows no ratings, v2 black stars, v3 red ones.

use std::time::Duration;

use hyper::StatusCode;
use mizzen_bookinfo::{
    Client, Reply, Request, Stars, Upstream, forwarded, json, port, reviews, run, serve, service_version, variable,
};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let version = service_version();
    let shop = Shop {
        color: match version.as_str() {
            "v2" => Some("black"),
            "v3" => Some("red"),
            _ => None,
        },
        pod: variable("HOSTNAME", &format!("reviews-{version}")),
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
    color: Option<&'static str>,
    pod: String,
    ratings: Upstream,
    client: Client,
}

impl Shop {
    async fn answer(&self, request: &Request) -> Reply {
        let Some(id) = request.uri().path().strip_prefix("/reviews/") else {
            return json(StatusCode::NOT_FOUND, &json!({"error": "no such page"}));
        };
        let Ok(id) = id.parse::<u64>() else {
            return json(StatusCode::BAD_REQUEST, &json!({"error": "please provide numeric product id"}));
        };
        let stars = match self.color {
            Some(color) => Some(Stars { color, ratings: self.ratings(id, color, request).await }),
            None => None,
        };
        json(StatusCode::OK, &reviews(id, &self.pod, stars.as_ref()))
    }

    async fn ratings(&self, id: u64, color: &str, request: &Request) -> Result<Value, String> {
        // As in Istio's sample, the newer version is the less patient one, which its fault-injection examples rely on.
        let deadline = if color == "black" { Duration::from_secs(10) } else { Duration::from_millis(2_500) };
        let url = self.ratings.url(&format!("/ratings/{id}"));
        let answer = self.client.fetch(&url, &forwarded(request.headers()), deadline).await;
        answer
            .ok()
            .filter(|answer| answer.status.is_success())
            .and_then(|answer| serde_json::from_slice(&answer.body).ok())
            .ok_or_else(|| "Ratings service is currently unavailable".to_owned())
    }
}
