//! What a plain scalar means: the core schema of YAML 1.2.2 (section 10.3.2), with one habit of `kubectl` kept.
//!
//! `yes`, `no`, `on` and `off` are text, as the core schema has it. `0644` is octal, as Kubernetes reads it: file modes in volumes
//! are written like that, and 644 would be another mode.

/// A resolved scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    /// The meaning of a plain scalar.
    pub(crate) fn resolve(text: &'a str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        if let Some(number) = integer(text) {
            return Self::Int(number);
        }
        float(text).map_or(Self::Text(text), Self::Float)
    }
}

fn integer(text: &str) -> Option<i128> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    let (negative, number) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let octal = number.len() > 1 && number.starts_with('0') && number.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let number = digits(number, if octal { 8 } else { 10 })?;
    Some(if negative { -number } else { number })
}

/// Digits alone: a sign, which `from_str_radix` would take, is none.
fn digits(text: &str, radix: u32) -> Option<i128> {
    if !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    i128::from_str_radix(text, radix).ok()
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        ".nan" | ".NaN" | ".NAN" => return (unsigned == text).then_some(f64::NAN),
        _ => {}
    }
    // What Rust reads as a float and YAML does not ("inf", "nan", "infinity") has other letters.
    let shape = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    if shape { text.parse().ok() } else { None }
}
