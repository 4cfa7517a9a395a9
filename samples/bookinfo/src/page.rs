//! The shop's pages. Everything that came over the network is escaped before it is shown.

use std::fmt::Write as _;

use serde_json::Value;

use crate::content;

/// One part of the page: what a service answered, or why it did not.
pub type Section = Result<Value, String>;

/// `<`, `>`, `&` and quotes as entities.
pub fn escape_html(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

/// The front page.
pub fn index_page() -> String {
    document(
        "<h1>Bookinfo</h1><p><a href=\"/productpage\">The book</a> · <a href=\"/api/v1/products\">products as JSON</a></p>",
    )
}

/// The page of the only book, as `user` sees it.
pub fn product_page(user: Option<&str>, details: &Section, reviews: &Section) -> String {
    let product = content::product();
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = match user {
        Some(user) => write!(body, "<p>{} · <a href=\"/logout\">sign out</a></p>", escape_html(user)),
        None => write!(
            body,
            "<form method=\"post\" action=\"/login\"><input name=\"username\" placeholder=\"user\"><button>Sign in</button></form>"
        ),
    };
    let _ = write!(
        body,
        "<h1>{}</h1><p>{}</p>",
        escape_html(product["title"].as_str().unwrap_or_default()),
        product["descriptionHtml"].as_str().unwrap_or_default()
    );
    push_details(&mut body, details);
    push_reviews(&mut body, reviews);
    document(&body)
}

fn push_details(body: &mut String, details: &Section) {
    body.push_str("<section><h2>Book Details</h2>");
    match details {
        Ok(details) => {
            body.push_str("<dl>");
            for (name, field) in [
                ("Type", "type"),
                ("Pages", "pages"),
                ("Publisher", "publisher"),
                ("Language", "language"),
                ("ISBN-10", "ISBN-10"),
                ("ISBN-13", "ISBN-13"),
            ] {
                let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", escape_html(&plain(&details[field])));
            }
            body.push_str("</dl>");
        }
        Err(error) => push_error(body, "details", error),
    }
    body.push_str("</section>");
}

fn push_reviews(body: &mut String, reviews: &Section) {
    body.push_str("<section><h2>Book Reviews</h2>");
    match reviews {
        Ok(reviews) => {
            let _ = write!(body, "<p class=\"pod\">served by {}</p>", escape_html(&plain(&reviews["podname"])));
            for review in reviews["reviews"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let (text, reviewer) = (plain(&review["text"]), plain(&review["reviewer"]));
                let _ = write!(
                    body,
                    "<blockquote>{}<footer>{}{}</footer></blockquote>",
                    escape_html(&text),
                    escape_html(&reviewer),
                    stars(&review["rating"])
                );
            }
        }
        Err(error) => push_error(body, "reviews", error),
    }
    body.push_str("</section>");
}

fn stars(rating: &Value) -> String {
    if let Some(error) = rating["error"].as_str() {
        return format!(" <em>{}</em>", escape_html(error));
    }
    let Some(stars) = rating["stars"].as_u64() else { return String::new() };
    let full = stars.min(5) as usize;
    let color = if rating["color"] == "red" { "red" } else { "black" };
    format!(" <span style=\"color:{color}\" title=\"{full} of 5\">{}{}</span>", "★".repeat(full), "☆".repeat(5 - full))
}

fn push_error(body: &mut String, what: &str, error: &str) {
    let _ = write!(body, "<p class=\"error\">Error fetching product {what}: {}</p>", escape_html(error));
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn document(body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Simple Bookstore App</title>\
         <link rel=\"stylesheet\" href=\"/static/shop.css\"></head><body>{body}</body></html>\n"
    )
}

#[cfg(test)]
mod tests;
