//! Text, addresses and pictures within a page that must stand alone.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;

/// A text in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            // Pages have places to be filled that begin so.
            '{' => html.push_str("&#123;"),
            letter => html.push(letter),
        }
    }
    html
}

/// A file as seen from a folder, as an address.
pub(super) fn address(path: &Path, folder: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (path, folder) = (whole(path), whole(folder));
    let relative = path.strip_prefix(&folder).unwrap_or(&path);
    let mut address = String::new();
    for byte in relative.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                address.push(byte as char)
            }
            byte => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    address
}

/// A JPEG as a `data:` address.
pub(super) fn jpeg_address(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a b#1.png");
        std::fs::write(&picture, "").unwrap();
        assert_eq!(address(&picture, folder.path()), "a%20b%231.png");
    }
}
