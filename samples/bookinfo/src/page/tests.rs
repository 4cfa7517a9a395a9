//! The page escapes, shows stars by version, and names what is missing.

use serde_json::json;

use super::{escape_html, product_page};
use crate::content::{self, Stars};

#[test]
fn foreign_text_is_escaped() {
    assert_eq!(escape_html("<a b=\"c\" d='e'>&"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
    let evil =
        Ok(json!({"podname": "<script>", "reviews": [{"reviewer": "<b>", "text": "<i>", "rating": {"error": "<u>"}}]}));
    let page = product_page(Some("<script>"), &Err("<script>".to_owned()), &evil);
    for tag in ["<script>", "<b>", "<i>", "<u>"] {
        assert!(!page.contains(tag), "{tag} in {page}");
    }
}

#[test]
fn stars_follow_the_version() {
    let stars = |color, ratings| Some(Stars { color, ratings });
    for (stars, shown) in [
        (None, "</p><blockquote>"),
        (stars("black", Ok(content::ratings(0))), "<span style=\"color:black\" title=\"4 of 5\">★★★★☆</span>"),
        (stars("red", Ok(content::ratings(0))), "<span style=\"color:red\" title=\"5 of 5\">★★★★★</span>"),
        (stars("red", Err("Ratings service is currently unavailable".to_owned())), "<em>Ratings service is"),
    ] {
        let page = product_page(None, &Ok(content::details(0)), &Ok(content::reviews(0, "pod-1", stars.as_ref())));
        assert!(page.contains(shown), "{shown} not in {page}");
        assert!(page.contains("served by pod-1") && page.contains("PublisherA") && !page.contains("Error fetching"));
    }
}

#[test]
fn a_missing_part_is_named() {
    let page = product_page(None, &Err("503".to_owned()), &Err("no answer".to_owned()));
    assert!(page.contains("Error fetching product details: 503"));
    assert!(page.contains("Error fetching product reviews: no answer"));
}
