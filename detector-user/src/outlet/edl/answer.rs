//! Answers to requests for lists.

use std::time::Duration;

use clap::ValueEnum as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::{Published, PublishedList};
use crate::outlet::exclusions::{ClientFormat, Format, client_reasons, reasons};
use crate::outlet::http::access::BasicCredentials;
use crate::outlet::http::{PLAIN_TYPE, of_kind, plain, refusal};
use crate::verdict::Cause;

const PATHS: &str = "paths: /edl/pinning, /edl/client-auth and /edl/sources, each with /FORMAT if it is not for PAN-OS; /why";
/// Digits of an entity tag.
const TAG_DIGITS: usize = 32;

/// Answers a request from what is published; `None`: nothing is yet.
pub(super) fn answer<B>(
    request: &Request<B>,
    credentials: Option<&BasicCredentials>,
    lists: Option<&Published>,
) -> Response<Full<Bytes>> {
    if let Some(refusal) = credentials.and_then(|it| it.refusal(request)) {
        return refusal;
    }
    let Some(wanted) = Wanted::of(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, PATHS.to_owned());
    };
    if let Some(refusal) = refusal(request) {
        return refusal;
    }
    let Some(lists) = lists else {
        // A firewall keeps its last list: an empty one would replace it.
        let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "no list yet".to_owned());
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return answer;
    };
    tagged(request, wanted.text(lists))
}

/// Answers with a text, or that it is the one that the client has (RFC 9110 §13.1.2).
fn tagged<B>(request: &Request<B>, text: String) -> Response<Full<Bytes>> {
    let digest = Sha256::digest(&text);
    let mut tag: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    tag.truncate(TAG_DIGITS);
    let tag = format!("\"{tag}\"");
    let known = request.headers().get_all(IF_NONE_MATCH).iter();
    let is_known = known.filter_map(|it| it.to_str().ok()).any(|known| {
        let mut tags = known.split(',').map(str::trim);
        tags.any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag)
    });
    let mut answer = if is_known {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        of_kind(StatusCode::OK, text, PLAIN_TYPE)
    };
    let headers = answer.headers_mut();
    // Hexadecimal digits in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The content that a path names.
enum Wanted {
    Destinations(Cause, Format),
    Sources(ClientFormat),
    Why,
}

impl Wanted {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let first = parts.next()?;
        if first == "why" {
            return parts.next().is_none().then_some(Self::Why);
        }
        let list = parts.next().filter(|_| first == "edl")?;
        let format = match parts.next() {
            Some(format) => Format::from_str(format, false).ok()?,
            None => Format::PanosEdl,
        };
        if parts.next().is_some() {
            return None;
        }
        match list {
            "pinning" => Some(Self::Destinations(Cause::Pinning, format)),
            "client-auth" => Some(Self::Destinations(Cause::ClientAuth, format)),
            "sources" => ClientFormat::of(format).map(Self::Sources),
            _ => None,
        }
    }

    fn text(&self, lists: &Published) -> String {
        match self {
            Self::Destinations(cause, format) => {
                let list = if *cause == Cause::Pinning {
                    &lists.pinning
                } else {
                    &lists.client_auth
                };
                format.list(&list.entries, *cause).text
            }
            Self::Sources(format) => format.list(&lists.clients),
            Self::Why => why(lists),
        }
    }
}

fn why(lists: &Published) -> String {
    let of = |cause, list: &PublishedList, age: Duration| {
        reasons(cause, &list.standing, &list.entries, age)
    };
    [
        of(Cause::Pinning, &lists.pinning, lists.age),
        of(Cause::ClientAuth, &lists.client_auth, lists.age),
        client_reasons(&lists.clients),
    ]
    .join("\n")
}
