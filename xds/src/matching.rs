//! Matchers over strings, headers, query parameters; regular expressions; fractions.

use leno_model::invalid::Invalid;
use leno_model::matching::{Fraction, HeaderMatch, HeaderValueMatch, Pattern, QueryMatch, StringMatch};

use crate::pb::route::header_matcher::HeaderMatchSpecifier;
use crate::pb::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use crate::pb::types::fractional_percent::DenominatorType;
use crate::pb::{matcher, matcher::string_matcher::MatchPattern, route, types};
use crate::strict::Fields;
use crate::wire::{Within, enumeration, required, required_text};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.type.matcher.v3.StringMatcher",
        supported: &[
            "exact",
            "prefix",
            "suffix",
            "contains",
            "safe_regex",
            "ignore_case",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.type.matcher.v3.RegexMatcher",
        supported: &["regex"],
        no_effect: &[(
            "google_re2",
            "the syntax is RE2's and the time linear in any case",
        )],
    },
    Fields {
        message: "envoy.type.matcher.v3.RegexMatchAndSubstitute",
        supported: &["pattern", "substitution"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.HeaderMatcher",
        supported: &[
            "name",
            "exact_match",
            "safe_regex_match",
            "range_match",
            "present_match",
            "prefix_match",
            "suffix_match",
            "contains_match",
            "string_match",
            "invert_match",
            "treat_missing_header_as_empty",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.QueryParameterMatcher",
        supported: &["name", "string_match", "present_match"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.type.v3.Int64Range",
        supported: &["start", "end"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.type.v3.FractionalPercent",
        supported: &["numerator", "denominator"],
        no_effect: &[],
    },
];

/// Bytes that one compiled expression may take.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// An expression that compiles within bounds.
pub(crate) fn regex(matcher: &matcher::RegexMatcher) -> Result<String, Invalid> {
    let text = required_text("regex", &matcher.regex)?;
    let config = regex_automata::meta::Config::new().nfa_size_limit(Some(REGEX_SIZE_LIMIT));
    regex_automata::meta::Builder::new()
        .configure(config)
        .build(text)
        .map_err(|error| {
            let reason = match error.syntax_error() {
                Some(syntax) => syntax.to_string().lines().last().unwrap_or_default().to_owned(),
                None => error.to_string(),
            };
            Invalid::new("regex", format!("`{text}` does not compile: {reason}"))
        })?;
    Ok(text.to_owned())
}

/// The other way.
pub(crate) fn to_regex(pattern: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: pattern.to_owned(),
        ..Default::default()
    }
}

/// A pattern and what its matches become.
pub(crate) fn substitution(value: &matcher::RegexMatchAndSubstitute) -> Result<(String, String), Invalid> {
    let pattern = regex(required("pattern", value.pattern.as_ref())?).within("pattern")?;
    Ok((pattern, value.substitution.clone()))
}

/// The other way.
pub(crate) fn to_substitution(pattern: &str, substitution: &str) -> matcher::RegexMatchAndSubstitute {
    matcher::RegexMatchAndSubstitute {
        pattern: Some(to_regex(pattern)),
        substitution: substitution.to_owned(),
    }
}

/// `StringMatcher`.
pub(crate) fn string(matcher: &matcher::StringMatcher) -> Result<StringMatch, Invalid> {
    let pattern = match required("", matcher.match_pattern.as_ref())? {
        MatchPattern::Exact(text) => Pattern::Exact(text.clone()),
        MatchPattern::Prefix(text) => Pattern::Prefix(required_text("prefix", text)?.to_owned()),
        MatchPattern::Suffix(text) => Pattern::Suffix(required_text("suffix", text)?.to_owned()),
        MatchPattern::Contains(text) => Pattern::Contains(required_text("contains", text)?.to_owned()),
        MatchPattern::SafeRegex(expression) => Pattern::Regex(regex(expression).within("safe_regex")?),
        MatchPattern::Custom(_) => return Err(Invalid::new("custom", "not supported by this version")),
    };
    if matcher.ignore_case && matches!(pattern, Pattern::Regex(_)) {
        return Err(Invalid::new(
            "ignore_case",
            "has no meaning with `safe_regex`: use `(?i)`",
        ));
    }
    Ok(StringMatch {
        pattern,
        ignore_case: matcher.ignore_case,
    })
}

/// The other way.
pub(crate) fn to_string(value: &StringMatch) -> matcher::StringMatcher {
    let pattern = match &value.pattern {
        Pattern::Exact(text) => MatchPattern::Exact(text.clone()),
        Pattern::Prefix(text) => MatchPattern::Prefix(text.clone()),
        Pattern::Suffix(text) => MatchPattern::Suffix(text.clone()),
        Pattern::Contains(text) => MatchPattern::Contains(text.clone()),
        Pattern::Regex(text) => MatchPattern::SafeRegex(to_regex(text)),
    };
    matcher::StringMatcher {
        ignore_case: value.ignore_case,
        match_pattern: Some(pattern),
    }
}

/// `HeaderMatcher`; the names of older versions are taken too.
#[allow(deprecated, reason = "users still write the names of older versions")]
pub(crate) fn header(matcher: &route::HeaderMatcher) -> Result<HeaderMatch, Invalid> {
    let plain = |pattern| {
        HeaderValueMatch::String(StringMatch {
            pattern,
            ignore_case: false,
        })
    };
    let text = |field, text| required_text(field, text).map(str::to_owned);
    let value = match &matcher.header_match_specifier {
        None => HeaderValueMatch::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderValueMatch::Present(*present),
        Some(HeaderMatchSpecifier::StringMatch(value)) => {
            HeaderValueMatch::String(string(value).within("string_match")?)
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => HeaderValueMatch::Range {
            start: range.start,
            end: range.end,
        },
        Some(HeaderMatchSpecifier::ExactMatch(value)) => plain(Pattern::Exact(value.clone())),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => {
            plain(Pattern::Prefix(text("prefix_match", value)?))
        }
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => {
            plain(Pattern::Suffix(text("suffix_match", value)?))
        }
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            plain(Pattern::Contains(text("contains_match", value)?))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(value)) => {
            plain(Pattern::Regex(regex(value).within("safe_regex_match")?))
        }
    };
    Ok(HeaderMatch {
        name: required_text("name", &matcher.name)?.to_ascii_lowercase(),
        value,
        invert: matcher.invert_match,
        treat_missing_as_empty: matcher.treat_missing_header_as_empty,
    })
}

/// The other way.
pub(crate) fn to_header(value: &HeaderMatch) -> route::HeaderMatcher {
    let specifier = match &value.value {
        HeaderValueMatch::Present(present) => HeaderMatchSpecifier::PresentMatch(*present),
        HeaderValueMatch::String(value) => HeaderMatchSpecifier::StringMatch(to_string(value)),
        HeaderValueMatch::Range { start, end } => HeaderMatchSpecifier::RangeMatch(types::Int64Range {
            start: *start,
            end: *end,
        }),
    };
    route::HeaderMatcher {
        name: value.name.clone(),
        invert_match: value.invert,
        treat_missing_header_as_empty: value.treat_missing_as_empty,
        header_match_specifier: Some(specifier),
    }
}

/// `QueryParameterMatcher`.
pub(crate) fn query(matcher: &route::QueryParameterMatcher) -> Result<QueryMatch, Invalid> {
    let value = match &matcher.query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => None,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return Err(Invalid::new(
                "present_match",
                "`false` is not supported by this version",
            ));
        }
        Some(QueryParameterMatchSpecifier::StringMatch(value)) => Some(string(value).within("string_match")?),
    };
    Ok(QueryMatch {
        name: required_text("name", &matcher.name)?.to_owned(),
        value,
    })
}

/// The other way.
pub(crate) fn to_query(value: &QueryMatch) -> route::QueryParameterMatcher {
    let specifier = match &value.value {
        None => QueryParameterMatchSpecifier::PresentMatch(true),
        Some(value) => QueryParameterMatchSpecifier::StringMatch(to_string(value)),
    };
    route::QueryParameterMatcher {
        name: value.name.clone(),
        query_parameter_match_specifier: Some(specifier),
    }
}

/// `FractionalPercent`.
pub(crate) fn fraction(value: &types::FractionalPercent) -> Result<Fraction, Invalid> {
    let denominator = match enumeration("denominator", value.denominator)? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(Fraction {
        numerator: value.numerator,
        denominator,
    })
}

/// The other way.
pub(crate) fn to_fraction(value: Fraction) -> types::FractionalPercent {
    let denominator = match value.denominator {
        0..=100 => DenominatorType::Hundred,
        101..=10_000 => DenominatorType::TenThousand,
        10_001.. => DenominatorType::Million,
    };
    types::FractionalPercent {
        numerator: value.numerator,
        denominator: denominator.into(),
    }
}
