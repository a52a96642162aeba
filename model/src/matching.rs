//! Matchers over strings, headers and query parameters.

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatch {
    /// What is looked for.
    pub pattern: Pattern,
    /// ASCII case is ignored. Not allowed with [`Pattern::Regex`].
    pub ignore_case: bool,
}

impl StringMatch {
    /// Exactly `text`, in this case.
    pub fn exact(text: impl Into<String>) -> Self {
        Self {
            pattern: Pattern::Exact(text.into()),
            ignore_case: false,
        }
    }
}

/// One way to look at a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The whole string.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Anywhere in it.
    Contains(String),
    /// The whole string matches, as in Envoy (RE2 syntax; linear time).
    Regex(String),
}

/// `envoy.config.route.v3.HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// What must be true of the value; several fields of one name are joined with `,`.
    pub value: HeaderValueMatch,
    /// The match counts when it fails.
    pub invert: bool,
    /// A missing field is an empty value rather than no match.
    pub treat_missing_as_empty: bool,
}

/// What a header matcher asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValueMatch {
    /// The field is there (`true`) or is not (`false`).
    Present(bool),
    /// Its value matches.
    String(StringMatch),
    /// Its value is a decimal number in `[start, end)`.
    Range {
        /// Inclusive.
        start: i64,
        /// Exclusive.
        end: i64,
    },
}

/// `envoy.config.route.v3.QueryParameterMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    /// Name of the parameter.
    pub name: String,
    /// `None`: it is there, with any value.
    pub value: Option<StringMatch>,
}

/// `envoy.type.v3.FractionalPercent`: `numerator` of `denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// Never above `denominator` in effect.
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
}
