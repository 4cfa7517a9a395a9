//! What the shop knows: one book, two reviews, their ratings; as the JSON the services exchange.

use serde_json::{Value, json};

/// All products.
pub fn products() -> Value {
    json!([product()])
}

/// The only product.
pub fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "<a href=\"https://en.wikipedia.org/wiki/The_Comedy_of_Errors\">Wikipedia Summary</a>: two pairs of twins, \
    separated by a shipwreck, are taken for each other in Ephesus.",
    })
}

/// The bibliographic details of the product `id`.
pub fn details(id: u64) -> Value {
    json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    })
}

/// The ratings of the product `id`.
pub fn ratings(id: u64) -> Value {
    json!({"id": id, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
}

/// The stars beside the reviews.
#[derive(Clone, Debug)]
pub struct Stars {
    /// `black` or `red`
    pub color: &'static str,
    /// What the ratings service answered, or why there are none.
    pub ratings: Result<Value, String>,
}

/// The reviews of the product `id` by `pod`; with stars where this version shows them.
pub fn reviews(id: u64, pod: &str, stars: Option<&Stars>) -> Value {
    let review = |reviewer: &str, text: &str| {
        let mut review = json!({"reviewer": reviewer, "text": text});
        match stars {
            Some(Stars { color, ratings: Ok(ratings) }) => {
                review["rating"] = json!({"stars": ratings["ratings"][reviewer], "color": color});
            }
            Some(Stars { ratings: Err(error), .. }) => review["rating"] = json!({"error": error}),
            None => {}
        }
        review
    };
    json!({
        "id": id.to_string(),
        "podname": pod,
        "clustername": Value::Null,
        "reviews": [
            review("Reviewer1", "Mistaken identities at full speed, and not a dull line in it."),
            review("Reviewer2", "Lighter than the later comedies. Read it aloud."),
        ],
    })
}
