//! Answers to a browser's requests.

use std::net::IpAddr;

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::events::{Events, stream};
use super::moment::moment;
use super::{Made, Shelf};
use crate::outlet::http::access::BasicCredentials;
use crate::outlet::http::{of_kind, plain, refusal};
use crate::outlet::report::live_page;
use crate::outlet::status::server::Latest;

const PATHS: &str = "paths: /, /content, /events, /live.js";
const SCRIPT: &str = include_str!("live.js");
/// Permits the page's own script and requests to its own server, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);
const HTML_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const SCRIPT_TYPE: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
/// The version of a part of the page, for its script.
pub(super) const VERSION: HeaderName = HeaderName::from_static("tlswhy-version");

/// All that requests are answered from.
pub(super) struct Site {
    pub(super) credentials: Option<BasicCredentials>,
    /// Whether clients must prove who they are.
    pub(super) is_restricted: bool,
    pub(super) shelf: Shelf,
    pub(super) latest: Latest,
}

/// The body of an answer: a text, or events as they come.
type Body = Either<Full<Bytes>, Events>;

impl Site {
    /// Answers a request.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut answer = match self.refusal(request) {
            Some(refusal) => refusal.map(Either::Left),
            None => self.content(request),
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        answer
    }

    fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        // A stranger's site may have its own name resolve to loopback, and let the operator's browser read the page.
        if !self.is_restricted && !is_own(request) {
            let text = "open the page by its address: names are answered if page.user or page.client_ca is set";
            return Some(plain(StatusCode::MISDIRECTED_REQUEST, text.to_owned()));
        }
        let credentials = self.credentials.as_ref();
        if let Some(refusal) = credentials.and_then(|it| it.refusal(request)) {
            return Some(refusal);
        }
        if !matches!(
            request.uri().path(),
            "/" | "/content" | "/events" | "/live.js"
        ) {
            return Some(plain(StatusCode::NOT_FOUND, PATHS.to_owned()));
        }
        refusal(request)
    }

    fn content<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/live.js" {
            return of_kind(StatusCode::OK, SCRIPT.to_owned(), SCRIPT_TYPE).map(Either::Left);
        }
        if path == "/events" {
            // Of HEAD nobody reads the body.
            let is_read = request.method() == Method::GET;
            return stream(self.shelf.clone(), self.latest.clone(), is_read).map(Either::Right);
        }
        let Some(made) = self.shelf.visit() else {
            let text = "the page is being made; try again".to_owned();
            let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, text);
            let soon = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, soon);
            return answer.map(Either::Left);
        };
        let text = match path {
            "/content" => made.content.clone(),
            _ => self.page(&made),
        };
        let mut answer = of_kind(StatusCode::OK, text, HTML_TYPE);
        // Hexadecimal digits.
        if let Ok(version) = HeaderValue::from_str(&made.version) {
            answer.headers_mut().insert(VERSION, version);
        }
        answer.map(Either::Left)
    }

    fn page(&self, made: &Made) -> String {
        live_page(&made.content, &made.version, &moment(&self.latest.get()))
    }
}

/// Whether a request names its host by an address, or as `localhost`.
fn is_own<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST);
    let Some(host) = host.and_then(|it| it.to_str().ok()) else {
        return false;
    };
    let Ok(authority) = host.parse::<hyper::http::uri::Authority>() else {
        return false;
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}
