//! Server-sent events (HTML Living Standard §9.2): `moment` with HTML of the status, `page` with the version of the
//! report's content.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, interval};

use super::Shelf;
use super::moment::moment;
use crate::outlet::status::server::Latest;

/// Maximum time for a connection; browsers connect again. A client that does not read costs a place for as long.
pub(super) const STREAM_MAX: Duration = Duration::from_secs(120);
/// Time after which a stream ends by itself.
const STREAM: Duration = Duration::from_secs(110);
/// Interval of looks for something new.
const LOOK: Duration = Duration::from_secs(1);
/// Interval of comments that show that the connection stands, in looks.
const COMMENT: u32 = 15;
/// Events that wait for a slow client.
const WAITING: usize = 4;

/// Events as they come.
pub(super) type Events = Channel<Bytes, Infallible>;

/// Returns the answer with all events from now on, the current state first.
pub(super) fn stream(shelf: Shelf, latest: Latest, is_read: bool) -> Response<Events> {
    let (sender, events) = Channel::new(WAITING);
    if is_read {
        // Ends with the connection, since then nothing can be sent.
        tokio::spawn(follow(shelf, latest, sender));
    }
    let mut answer = Response::new(events);
    *answer.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

async fn follow(shelf: Shelf, latest: Latest, mut sender: Sender<Bytes, Infallible>) {
    let ends = Instant::now() + STREAM;
    let mut looks = interval(LOOK);
    let (mut version, mut shown) = (String::new(), String::new());
    let mut silent = 0;
    while Instant::now() < ends {
        looks.tick().await;
        let mut text = String::new();
        let current = moment(&latest.get()).into_string();
        if current != shown {
            text.push_str(&event("moment", &current));
            shown = current;
        }
        if let Some(made) = shelf.visit()
            && made.version != version
        {
            text.push_str(&event("page", &made.version));
            version.clone_from(&made.version);
        }
        silent += 1;
        if text.is_empty() && silent >= COMMENT {
            text.push_str(":\n\n");
        }
        if text.is_empty() {
            continue;
        }
        silent = 0;
        if sender.send_data(text.into()).await.is_err() {
            break;
        }
    }
}

/// Returns an event. Each line of its data has a prefix of its own, so that no text can end it.
fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.split(['\r', '\n']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_event() {
        let text = event("moment", "a\r\nevent: page\n\ndata: b");
        let ended = text.match_indices("\n\n").count();
        assert_eq!(ended, 1, "{text:?}");
        assert!(text.ends_with("\n\n"));
        let lines = text.lines().filter(|line| line.starts_with("event:"));
        assert_eq!(lines.count(), 1);
    }
}
