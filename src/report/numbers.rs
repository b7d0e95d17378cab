//! Numbers written the way Python and NumPy write them (docs/original.md §8).

/// Most decimals NumPy prints by default.
const PRECISION: usize = 8;

/// A float as Python's `str` has it: shortest digits that read back, `5.0`, `1e-05`, `nan`.
pub(crate) fn python(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        return exponent(&format!("{value:e}"));
    }
    // Rust's shortest digits are Python's; only the point of whole numbers has to be added.
    let text = format!("{value}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// A float rounded as Python's `round(value, decimals)` and printed as its `str`.
pub(crate) fn python_rounded(value: f64, decimals: usize) -> String {
    // Both languages round the exact binary value, ties to even.
    match format!("{value:.decimals$}").parse::<f64>() {
        Ok(rounded) => python(rounded),
        Err(_) => python(value),
    }
}

/// A list of floats as Python prints it: `[81.0, 39.0, 288.0]`.
pub(crate) fn python_list(values: &[f64]) -> String {
    format!("[{}]", values.iter().map(|&value| python(value)).collect::<Vec<_>>().join(", "))
}

/// A float64 array as NumPy prints it: `[ 81.9662  36.4989 297.5   ]`. Values are finite.
pub(crate) fn numpy_array(values: &[f64]) -> String {
    let sizes = values.iter().map(|value| value.abs()).filter(|&size| size > 0.0);
    let (least, most) =
        sizes.fold((f64::INFINITY, 0.0f64), |(least, most), size| (least.min(size), most.max(size)));
    let scientific = most > 0.0 && (most >= 1e8 || least < 1e-4 || most / least > 1000.0);
    let texts = if scientific { scientific_texts(values) } else { positional_texts(values) };
    format!("[{}]", texts.join(" "))
}

/// Shortest digits, at most eight decimals, whole and fractional parts padded with spaces.
fn positional_texts(values: &[f64]) -> Vec<String> {
    let parts: Vec<(String, String)> = values
        .iter()
        .map(|value| {
            let shortest = format!("{value}");
            let decimals = shortest.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            split_fraction(&if decimals > PRECISION { format!("{value:.PRECISION$}") } else { shortest })
        })
        .collect();
    let width = |part: fn(&(String, String)) -> usize| parts.iter().map(part).max().unwrap_or(0);
    let (left, right) = (width(|(whole, _)| whole.len()), width(|(_, fraction)| fraction.len()));
    parts.iter().map(|(whole, fraction)| format!("{whole:>left$}.{fraction:<right$}")).collect()
}

/// Shortest mantissas padded with zeros to one length, two-digit exponents.
fn scientific_texts(values: &[f64]) -> Vec<String> {
    let parts: Vec<((String, String), String)> = values
        .iter()
        .map(|value| {
            let mut shortest = format!("{value:e}");
            if split_mantissa(&shortest).0.1.len() > PRECISION {
                shortest = format!("{value:.PRECISION$e}");
            }
            split_mantissa(&shortest)
        })
        .collect();
    let left = parts.iter().map(|((whole, _), _)| whole.len()).max().unwrap_or(0);
    let right = parts.iter().map(|((_, fraction), _)| fraction.len()).max().unwrap_or(0);
    parts
        .iter()
        .map(|((whole, fraction), power)| exponent(&format!("{whole:>left$}.{fraction:0<right$}e{power}")))
        .collect()
}

fn split_mantissa(text: &str) -> ((String, String), String) {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    (split_fraction(mantissa), power.to_owned())
}

fn split_fraction(text: &str) -> (String, String) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.to_owned(), fraction.trim_end_matches('0').to_owned())
}

/// Rust's `1e-5` → Python's `1e-05`.
fn exponent(text: &str) -> String {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_look_as_numpy_prints_them() {
        // Each pair was printed by NumPy.
        let printed: [(&[f64], &str); 15] = [
            (&[81.9662, 36.4989, 297.5], "[ 81.9662  36.4989 297.5   ]"),
            (&[79.3494, 45.0036, 275.0], "[ 79.3494  45.0036 275.    ]"),
            (&[71.0, 55.0, 98.09], "[71.   55.   98.09]"),
            (&[1e-5, 2.0, 3.0], "[1.e-05 2.e+00 3.e+00]"),
            (&[0.0, 1.0, 2.0], "[0. 1. 2.]"),
            (&[-1.5, 200.25, 3.0], "[ -1.5  200.25   3.  ]"),
            (&[0.5, 1000.0, 2.0], "[5.e-01 1.e+03 2.e+00]"),
            (&[1.0 / 3.0, 2.0 / 3.0, 100.0], "[  0.33333333   0.66666667 100.        ]"),
            (&[1e8, 2e8, 3e8], "[1.e+08 2.e+08 3.e+08]"),
            (&[0.001, 1.5, 1.0], "[1.0e-03 1.5e+00 1.0e+00]"),
            (&[-0.00001, 0.0, 0.0], "[-1.e-05  0.e+00  0.e+00]"),
            (&[123456.789, 1000.0, 2000.0], "[123456.789   1000.      2000.   ]"),
            (&[1e-3 / 3.0, 0.25, 0.1], "[0.00033333 0.25       0.1       ]"),
            (&[0.0, 0.0, 0.0], "[0. 0. 0.]"),
            (&[0.1 + 0.2, 1.0, 1.0], "[0.3 1.  1. ]"),
        ];
        for (values, text) in printed {
            assert_eq!(numpy_array(values), text, "{values:?}");
        }
    }

    #[test]
    fn floats_look_as_python_prints_them() {
        assert_eq!(
            [81.0, 0.1, -2.5, 1e-5, 1e16, f64::NAN].map(python),
            ["81.0", "0.1", "-2.5", "1e-05", "1e+16", "nan"]
        );
        assert_eq!(python_list(&[81.0, 39.5]), "[81.0, 39.5]");
        assert_eq!(python_rounded(85.77, 1), "85.8");
        assert_eq!(python_rounded(5.0, 2), "5.0");
        assert_eq!(python_rounded(0.125, 2), "0.12");
        assert_eq!(python_rounded(f64::NAN, 1), "nan");
    }
}
