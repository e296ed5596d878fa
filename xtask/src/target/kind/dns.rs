//! Just enough of DNS over TCP to ask whether a name resolves.
//! <https://www.rfc-editor.org/rfc/rfc1035>

use anyhow::{Context, Result, ensure};

/// A query for the address of `name`, with the length in front that TCP wants.
pub(super) fn query(name: &str) -> Vec<u8> {
    // Identifier, recursion desired, one question.
    let mut message = vec![0x0e, 0x2e, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    // The root, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

/// Whether the header, as decimal bytes, is that of an answer with at least one record.
///
/// # Errors
/// What else it is.
pub(super) fn check(header: &str) -> Result<()> {
    let bytes: Vec<u8> = header
        .split_whitespace()
        .map(|byte| byte.parse().with_context(|| format!("{byte:?} is no byte of a DNS answer")))
        .collect::<Result<_>>()?;
    ensure!(bytes.len() == 12, "the DNS answered with {} bytes", bytes.len());
    let code = bytes[3] & 0x0f;
    let answers = u16::from_be_bytes([bytes[6], bytes[7]]);
    ensure!(code == 0 && answers > 0, "the DNS answered with code {code} and {answers} records");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_framed_and_its_labels_counted() {
        let query = query("ab.c");
        assert_eq!(query, [0, 22, 0x0e, 0x2e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', 1, b'c', 0, 0, 1, 0, 1]);
    }

    #[test]
    fn only_an_answer_with_records_counts() {
        check(" 14 46 129 128 0 1 0 1 0 0 0 0\n").unwrap();
        assert!(check("14 46 129 131 0 1 0 0 0 0 0 0").unwrap_err().to_string().contains("code 3"));
        assert!(check("").unwrap_err().to_string().contains("0 bytes"));
    }
}
