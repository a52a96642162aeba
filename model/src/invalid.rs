//! What is wrong with a document, and where.

/// A refused value: the path of the field, and the reason.
///
/// `path` uses the field names of the document that was read, with list positions in brackets, as in
/// `virtual_hosts[2].routes[0].match.safe_regex.regex`. It is empty when the document as a whole is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{reason}", path, if path.is_empty() { "" } else { ": " })]
pub struct Invalid {
    /// Where, in the words of the document.
    pub path: String,
    /// What is wrong and what would be right: lower case, no full stop.
    pub reason: String,
}

impl Invalid {
    /// A refusal at `path`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// The same refusal seen from one level further out: `parent` is put before the path.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.path = match (parent.is_empty(), self.path.is_empty()) {
            (true, _) => self.path,
            (false, true) => parent.to_owned(),
            (false, false) if self.path.starts_with('[') => format!("{parent}{}", self.path),
            (false, false) => format!("{parent}.{}", self.path),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Invalid;

    #[test]
    fn paths_grow_from_the_inside_out() {
        let refusal = Invalid::new("regex", "unclosed group")
            .within("[3]")
            .within("routes")
            .within("");
        assert_eq!(refusal.to_string(), "routes[3].regex: unclosed group");
        assert_eq!(Invalid::new("", "empty document").to_string(), "empty document");
    }
}
