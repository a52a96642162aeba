//! Requests in, routes out, through one door.

use std::sync::Arc;

use leno_model::access_log::{Format, Part};
use leno_model::matching::{Fraction, HeaderMatch, HeaderValueMatch, Pattern, QueryMatch, StringMatch};
use leno_model::route::{
    AppendAction, DirectResponse, Forward, HeaderEdit, HeaderEdits, HostRewrite, PathMatch, PathRewrite,
    Redirect, RedirectPath, Route, RouteAction, RouteConfiguration, RouteMatch, Target, VirtualHost,
    WeightedCluster,
};

use super::{LocalTable, RouteTable};
use crate::http::headers::Headers;

fn route(cluster: &str, matches: RouteMatch) -> Route {
    Route {
        name: String::new(),
        matches,
        action: RouteAction::Forward(Box::new(Forward::to(cluster))),
        edits: HeaderEdits::default(),
        filter_overrides: Default::default(),
    }
}

fn prefix(cluster: &str, text: &str) -> Route {
    route(cluster, RouteMatch::path(PathMatch::Prefix(text.to_owned())))
}

fn host(domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: domains.join(" "),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        routes,
        edits: HeaderEdits::default(),
        retry: None,
        tells_attempts: Default::default(),
        filter_overrides: Default::default(),
    }
}

fn config(hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        virtual_hosts: hosts,
        ..RouteConfiguration::default()
    }
}

fn table(config: &RouteConfiguration) -> LocalTable {
    LocalTable::new(Arc::new(RouteTable::compile(config).unwrap()))
}

/// `GET http://authority/path`, with further fields.
fn request(authority: &str, path: &str, fields: &[(&str, &str)]) -> Headers {
    let pseudo = [
        (":authority", authority),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
    ];
    pseudo.into_iter().chain(fields.iter().copied()).collect()
}

/// The cluster for a request; `-` if no route takes it.
#[track_caller]
fn check(config: &RouteConfiguration, request: &Headers, expected: &str) {
    let chosen = table(config).select(request, 0);
    let got = chosen
        .as_ref()
        .and_then(|route| route.cluster(request))
        .unwrap_or("-");
    assert_eq!(got, expected, "{request:?}");
}

#[test]
fn domains_are_exact_then_longest_suffix_then_longest_prefix_then_any() {
    let names = ["a.b.c", "*.b.c", "*.c", "a.*", "a.b.*", "*", "h:8080"];
    let mut config = config(
        names
            .iter()
            .map(|&name| host(&[name], vec![prefix(name, "/")]))
            .collect(),
    );
    for (authority, expected) in [
        ("a.b.c", "a.b.c"),
        ("A.B.C", "a.b.c"),
        ("x.b.c", "*.b.c"),
        (".b.c", "*.c"),
        ("x.c", "*.c"),
        ("a.b.d", "a.b.*"),
        ("a.x", "a.*"),
        ("a.", "*"),
        ("h:8080", "h:8080"),
        ("h:80", "*"),
        ("a.b.c:80", "a.b.*"),
        ("", "*"),
    ] {
        check(&config, &request(authority, "/", &[]), expected);
    }
    config.ignore_port_in_host = true;
    check(&config, &request("a.b.c:80", "/", &[]), "a.b.c");
    config.virtual_hosts.remove(5);
    check(&config, &request("q", "/", &[]), "-");
}

#[test]
fn the_first_route_that_matches_wins() {
    let exact = |path: &str| RouteMatch::path(PathMatch::Exact(path.to_owned()));
    let config = config(vec![host(
        &["*"],
        vec![
            prefix("api", "/api/"),
            route("late", exact("/api/x")),
            route("early", exact("/y")),
            prefix("y", "/y"),
            route(
                "separated",
                RouteMatch::path(PathMatch::SeparatedPrefix("/s".to_owned())),
            ),
            route(
                "regex",
                RouteMatch::path(PathMatch::Regex("/r/[0-9]+|/q".to_owned())),
            ),
            route(
                "case",
                RouteMatch {
                    case_sensitive: false,
                    ..exact("/CaSe")
                },
            ),
        ],
    )]);
    for (path, expected) in [
        ("/api/x", "api"),
        ("/y", "early"),
        ("/y?a=b", "early"),
        ("/yes", "y"),
        ("/s", "separated"),
        ("/s/t?u", "separated"),
        ("/st", "-"),
        ("/r/12", "regex"),
        ("/r/12/", "-"),
        ("/q", "regex"),
        ("/qq", "-"),
        ("/case", "case"),
        ("", "-"),
    ] {
        check(&config, &request("h", path, &[]), expected);
    }
}

fn header(name: &str, value: HeaderValueMatch) -> HeaderMatch {
    HeaderMatch {
        name: name.to_owned(),
        value,
        invert: false,
        treat_missing_as_empty: false,
    }
}

fn text(pattern: Pattern) -> HeaderValueMatch {
    HeaderValueMatch::String(StringMatch {
        pattern,
        ignore_case: false,
    })
}

#[track_caller]
fn check_header(matcher: HeaderMatch, fields: &[(&str, &str)], expected: bool) {
    let matches = RouteMatch {
        headers: vec![matcher.clone()],
        ..RouteMatch::path(PathMatch::Prefix("/".to_owned()))
    };
    let config = config(vec![host(&["*"], vec![route("yes", matches)])]);
    let found = table(&config).select(&request("h:1", "/", fields), 0).is_some();
    assert_eq!(found, expected, "{matcher:?} {fields:?}");
}

#[test]
fn headers_match_by_value() {
    let exact = || header("x", text(Pattern::Exact("a,b".to_owned())));
    // Each value by itself, as Envoy 1.40 has it.
    check_header(exact(), &[("x", "a"), ("y", ""), ("x", "b")], false);
    check_header(exact(), &[("x", "c"), ("y", ""), ("x", "a,b")], true);
    let not = || HeaderMatch {
        invert: true,
        ..exact()
    };
    check_header(not(), &[("x", "c"), ("x", "a,b")], false);
    check_header(not(), &[("x", "c"), ("x", "d")], true);
    check_header(exact(), &[("x", "a")], false);
    check_header(
        header("x", text(Pattern::Prefix("a".to_owned()))),
        &[("x", "ab")],
        true,
    );
    check_header(
        header("x", text(Pattern::Suffix("a".to_owned()))),
        &[("x", "ab")],
        false,
    );
    check_header(
        header("x", text(Pattern::Suffix("ab".to_owned()))),
        &[("x", "b")],
        false,
    );
    check_header(
        header("x", text(Pattern::Contains("b".to_owned()))),
        &[("x", "abc")],
        true,
    );
    check_header(
        header("x", text(Pattern::Regex("a.c".to_owned()))),
        &[("x", "abcd")],
        false,
    );
    check_header(header("host", text(Pattern::Exact("h:1".to_owned()))), &[], true);
    let folded = StringMatch {
        pattern: Pattern::Contains("bC".to_owned()),
        ignore_case: true,
    };
    check_header(
        header("x", HeaderValueMatch::String(folded)),
        &[("x", "aBcd")],
        true,
    );
    let range = || header("x", HeaderValueMatch::Range { start: -10, end: 0 });
    check_header(range(), &[("x", "-10")], true);
    check_header(range(), &[("x", "0")], false);
    check_header(range(), &[("x", "-1a")], false);
}

#[test]
fn missing_headers_match_only_a_wish_for_absence() {
    let present = |present, invert| HeaderMatch {
        invert,
        ..header("x", HeaderValueMatch::Present(present))
    };
    check_header(present(true, false), &[], false);
    check_header(present(true, true), &[], true);
    check_header(present(false, false), &[], true);
    check_header(present(false, false), &[("x", "")], false);
    let not_a = |treat_missing_as_empty| HeaderMatch {
        invert: true,
        treat_missing_as_empty,
        ..header("x", text(Pattern::Exact("a".to_owned())))
    };
    check_header(not_a(false), &[], false);
    check_header(not_a(true), &[], true);
    check_header(not_a(false), &[("x", "b")], true);
    check_header(not_a(true), &[("x", "a")], false);
}

#[test]
fn query_and_grpc_match() {
    let query = |name: &str, value: Option<&str>| QueryMatch {
        name: name.to_owned(),
        value: value.map(StringMatch::exact),
    };
    let all = RouteMatch::path(PathMatch::Prefix("/".to_owned()));
    let config = config(vec![host(
        &["*"],
        vec![
            route(
                "both",
                RouteMatch {
                    query: vec![query("a", Some("1")), query("b", None)],
                    ..all.clone()
                },
            ),
            route("grpc", RouteMatch { grpc: true, ..all }),
        ],
    )]);
    check(&config, &request("h", "/?a=1&b", &[]), "both");
    check(&config, &request("h", "/?b=&a=1#a=2", &[]), "both");
    check(&config, &request("h", "/?a=2&a=1&b", &[]), "-");
    check(&config, &request("h", "/?ab=1", &[]), "-");
    check(
        &config,
        &request("h", "/", &[("content-type", "application/grpc+proto")]),
        "grpc",
    );
    check(
        &config,
        &request("h", "/", &[("content-type", "application/grpc-web")]),
        "-",
    );
}

#[test]
fn shares_are_kept() {
    let weighted = |name: &str, weight| WeightedCluster {
        name: name.to_owned(),
        weight,
        edits: HeaderEdits::default(),
    };
    let mut split = prefix("", "/");
    let target = Target::Weighted(vec![weighted("zero", 0), weighted("nine", 9), weighted("one", 1)]);
    split.action = RouteAction::Forward(Box::new(Forward {
        target,
        ..Forward::to("")
    }));
    let mut some = prefix("some", "/");
    some.matches.fraction = Some(Fraction {
        numerator: 25,
        denominator: 100,
    });
    let table = table(&config(vec![host(&["*"], vec![some, split])]));
    let (request, mut random) = (request("h", "/", &[]), fastrand::Rng::with_seed(1));
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..40_000 {
        let chosen = table.select(&request, random.u64(..)).unwrap();
        *counts
            .entry(chosen.cluster(&request).unwrap().to_owned())
            .or_default() += 1;
    }
    let close = |name: &str, expected: u32| {
        let got = counts.get(name).copied().unwrap_or(0);
        assert!(got.abs_diff(expected) < 400, "{name}: {counts:?}");
    };
    close("some", 10_000);
    close("nine", 27_000);
    close("one", 3_000);
    assert!(!counts.contains_key("zero"));
}

/// Path and authority after a rewrite.
#[track_caller]
fn check_rewrite(forward: Forward, matched: PathMatch, path: &str, expected: (&str, &str)) {
    let mut rewriting = route("", RouteMatch::path(matched));
    rewriting.action = RouteAction::Forward(Box::new(forward));
    let mut request = request("old", path, &[("x-host", "told")]);
    let chosen = table(&config(vec![host(&["*"], vec![rewriting])]))
        .select(&request, 0)
        .unwrap();
    chosen.rewrite_request(&mut request, &mut |_, _, _| {});
    chosen.rewrite_host_to_endpoint(&mut request, "endpoint");
    let text = |name: &[u8]| String::from_utf8(request.get(name).unwrap().to_vec()).unwrap();
    assert_eq!((text(b":path").as_str(), text(b":authority").as_str()), expected);
    assert_eq!(
        request.get(b"x-envoy-original-path"),
        (text(b":path") != path).then_some(path.as_bytes())
    );
}

#[test]
fn paths_and_hosts_are_rewritten() {
    let path = |rewrite| Forward {
        path_rewrite: Some(rewrite),
        ..Forward::to("c")
    };
    let to = |text: &str| path(PathRewrite::Prefix(text.to_owned()));
    let matched = |text: &str| PathMatch::Prefix(text.to_owned());
    check_rewrite(to("/"), matched("/a/"), "/a/b?c=/a/", ("/b?c=/a/", "old"));
    check_rewrite(
        to("/v2"),
        PathMatch::SeparatedPrefix("/v1".to_owned()),
        "/v1",
        ("/v2", "old"),
    );
    check_rewrite(
        to("/x"),
        PathMatch::Regex("/.*".to_owned()),
        "/a/b?c",
        ("/x?c", "old"),
    );
    let regex = |pattern: &str, substitution: &str| {
        path(PathRewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        })
    };
    check_rewrite(
        regex("^/service/([^/]+)(/.*)$", r"\2/instance/\1"),
        matched("/"),
        "/service/foo/v1/api?q",
        ("/v1/api/instance/foo?q", "old"),
    );
    check_rewrite(
        regex("one", r"two\\\0"),
        matched("/"),
        "/one/xone",
        (r"/two\one/xtwo\one", "old"),
    );
    let host = |rewrite| Forward {
        host_rewrite: Some(rewrite),
        ..Forward::to("c")
    };
    check_rewrite(
        host(HostRewrite::Literal("new".to_owned())),
        matched("/"),
        "/",
        ("/", "new"),
    );
    check_rewrite(
        host(HostRewrite::Header("x-host".to_owned())),
        matched("/"),
        "/",
        ("/", "told"),
    );
    check_rewrite(host(HostRewrite::Auto), matched("/"), "/", ("/", "endpoint"));
}

#[track_caller]
fn check_redirect(redirect: Redirect, authority: &str, path: &str, location: &str) {
    let status = redirect.status;
    let mut redirecting = prefix("", "/old");
    redirecting.action = RouteAction::Redirect(redirect);
    let request = request(authority, path, &[]);
    let chosen = table(&config(vec![host(&["*"], vec![redirecting])]))
        .select(&request, 0)
        .unwrap();
    let answer = chosen.answer(&request).unwrap();
    let got = String::from_utf8(answer.location.unwrap()).unwrap();
    assert_eq!((answer.status, got.as_str()), (status, location));
}

#[test]
fn redirects_change_what_they_say() {
    let none = Redirect {
        status: 301,
        scheme: None,
        host: None,
        port: None,
        path: None,
        strip_query: false,
    };
    let scheme = |scheme: &str| Some(scheme.to_owned());
    check_redirect(
        Redirect {
            scheme: scheme("https"),
            ..none.clone()
        },
        "h:80",
        "/old?q",
        "https://h/old?q",
    );
    check_redirect(
        Redirect {
            scheme: scheme("https"),
            ..none.clone()
        },
        "h:81",
        "/old",
        "https://h:81/old",
    );
    check_redirect(
        Redirect {
            host: Some("new".to_owned()),
            ..none.clone()
        },
        "h:81",
        "/old",
        "http://new/old",
    );
    check_redirect(
        Redirect {
            port: Some(8443),
            status: 307,
            ..none.clone()
        },
        "[::1]:1",
        "/old",
        "http://[::1]:8443/old",
    );
    let path = |path| Redirect {
        path: Some(path),
        ..none.clone()
    };
    check_redirect(
        path(RedirectPath::Prefix("/new".to_owned())),
        "h",
        "/old/x?q",
        "http://h/new/x?q",
    );
    check_redirect(
        path(RedirectPath::Full("/all?a".to_owned())),
        "h",
        "/old/x?q",
        "http://h/all?a",
    );
    let strip = Redirect {
        strip_query: true,
        ..path(RedirectPath::Full("/all".to_owned()))
    };
    check_redirect(strip, "h", "/old/x?q", "http://h/all");
    let regex = RedirectPath::Regex {
        pattern: "o(l)d".to_owned(),
        substitution: r"\1".to_owned(),
    };
    check_redirect(path(regex), "h", "/old/x?q", "http://h/l/x?q");
}

fn edit(name: &str, value: &str, append: AppendAction) -> HeaderEdit {
    let value = Format {
        source: value.to_owned(),
        parts: vec![Part::Text(value.to_owned())],
    };
    HeaderEdit {
        name: name.to_owned(),
        value,
        append,
    }
}

#[test]
fn edits_go_from_the_most_specific_level_outwards() {
    let level = |value: &str| HeaderEdits {
        request: vec![edit("x-level", value, AppendAction::AppendOrAdd)],
        response: vec![edit("x-set", value, AppendAction::OverwriteOrAdd)],
        response_remove: vec!["x-gone".to_owned()],
        ..HeaderEdits::default()
    };
    let mut route = prefix("c", "/");
    route.edits = level("route");
    route
        .edits
        .request
        .push(edit("x-old", "no", AppendAction::AddIfAbsent));
    route
        .edits
        .request
        .push(edit("x-new", "no", AppendAction::OverwriteIfExists));
    let mut host = host(&["*"], vec![route]);
    host.edits = level("host");
    let mut config = config(vec![host]);
    config.edits = level("table");
    let mut request = request("h", "/", &[("x-old", "yes")]);
    let chosen = table(&config).select(&request, 0).unwrap();
    chosen.rewrite_request(&mut request, &mut |_, _, _| {});
    let levels: Vec<_> = request.get_all(b"x-level").collect();
    assert_eq!(levels, [&b"route"[..], b"host", b"table"]);
    assert_eq!(request.get_all(b"x-old").collect::<Vec<_>>(), [b"yes"]);
    assert_eq!(request.get(b"x-new"), None);
    let mut response: Headers = [(":status", "200"), ("x-gone", "1"), ("x-set", "0")]
        .into_iter()
        .collect();
    chosen.edit_response(&mut response, &mut |_, _, _| {});
    let got: Vec<_> = response.iter().collect();
    assert_eq!(got, [(&b":status"[..], &b"200"[..]), (b"x-set", b"table")]);
}

#[track_caller]
fn refused(config: &RouteConfiguration, expected: &str) {
    let refusal = RouteTable::compile(config).expect_err("it is wrong").to_string();
    assert!(refusal.starts_with(expected), "{refusal}");
}

#[test]
fn wrong_documents_are_refused_with_their_place() {
    let regex = |pattern: &str| {
        vec![
            prefix("a", "/"),
            route("c", RouteMatch::path(PathMatch::Regex(pattern.to_owned()))),
        ]
    };
    let one = |routes| config(vec![host(&["*"], routes)]);
    refused(
        &one(regex("a(")),
        "virtual_hosts[0].routes[1].match.safe_regex.regex: `a(` is not a regular expression",
    );
    refused(
        &one(regex("a)(b")),
        "virtual_hosts[0].routes[1].match.safe_regex.regex: `a)(b` is not",
    );
    refused(
        &one(regex("(a{1000}){1000}")),
        "virtual_hosts[0].routes[1].match.safe_regex.regex: `(a{1000}){1000}` is too large",
    );
    refused(
        &config(vec![host(&["a", "*b*"], vec![])]),
        "virtual_hosts[0].domains[1]: `*b*`",
    );
    refused(
        &config(vec![host(&["a"], vec![]), host(&["A"], vec![])]),
        "virtual_hosts[1].domains[0]: `A` is there twice",
    );
    let mut direct = prefix("", "/");
    direct.action = RouteAction::Direct(DirectResponse {
        status: 100,
        body: Vec::new(),
    });
    refused(
        &one(vec![direct]),
        "virtual_hosts[0].routes[0].direct_response.status: 100",
    );
    let mut host_edit = prefix("", "/");
    host_edit.edits.request_remove.push("host".to_owned());
    refused(
        &one(vec![host_edit]),
        "virtual_hosts[0].routes[0].request_headers_to_remove[0]: `host`",
    );
    let mut group = prefix("", "/");
    let rewrite = PathRewrite::Regex {
        pattern: "a".to_owned(),
        substitution: r"\1".to_owned(),
    };
    group.action = RouteAction::Forward(Box::new(Forward {
        path_rewrite: Some(rewrite),
        ..Forward::to("c")
    }));
    refused(
        &one(vec![group]),
        "virtual_hosts[0].routes[0].route.regex_rewrite.substitution",
    );
}
