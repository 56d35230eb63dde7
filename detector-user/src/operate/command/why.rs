//! `tlswhy why`: one story in plain words.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{past, show};
use crate::operate::cli::{Asked, EXIT_DONE, EXIT_FAILED, WhyArgs};
use crate::outlet::database::{Group, Past, Query, StoredVerdict};
use crate::outlet::story::Story;

/// Maximum number of groups that a story is compared with.
const OTHERS_MAX: usize = 1_000;

/// Tells the stories of the most frequent failures.
///
/// # Errors
/// The past cannot be read, or the output cannot be written.
pub fn run(arguments: &WhyArgs) -> anyhow::Result<u8> {
    let (past, is_whole) = past::open(&arguments.past)?;
    let stories = match &arguments.asked {
        Asked::Name(name) => of_name(&past, name, arguments.limit)?,
        Asked::Client(address) => of_address(&past, *address, arguments.limit)?,
        Asked::CommunityId(id) => of_connection(past.verdicts_of_connection(id)?),
        Asked::Ends(client, server) => {
            let mut verdicts = past.verdicts_between(*client, *server)?;
            if verdicts.is_empty() {
                // Logs and tools write the ends in either order.
                verdicts = past.verdicts_between(*server, *client)?;
            }
            of_connection(verdicts)
        }
    };
    if stories.is_empty() {
        complain!(
            "tlswhy: no failure of {} is known",
            described(&arguments.asked)
        );
        return Ok(EXIT_FAILED);
    }
    show(&written(&stories, arguments.json)?)?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

fn of_name(past: &Past, name: &str, limit: usize) -> anyhow::Result<Vec<Story>> {
    let names = vec![glob::Pattern::new(&glob::Pattern::escape(name))?];
    of_groups(
        past,
        &Query {
            names,
            ..query(limit)
        },
    )
}

/// Returns the stories of a client, or of the servers without a name at this address.
fn of_address(past: &Past, address: IpAddr, limit: usize) -> anyhow::Result<Vec<Story>> {
    let clients = vec![IpNet::from(address)];
    let stories = of_groups(
        past,
        &Query {
            clients,
            ..query(limit)
        },
    )?;
    if stories.is_empty() {
        return of_name(past, &address.to_string(), limit);
    }
    Ok(stories)
}

fn query(limit: usize) -> Query {
    Query {
        limit,
        ..Query::default()
    }
}

fn described(asked: &Asked) -> String {
    match asked {
        Asked::Name(name) => name.clone(),
        Asked::Client(address) => format!("client or server {address}"),
        Asked::CommunityId(id) => format!("connection {id}"),
        Asked::Ends(client, server) => format!("a connection from {client} to {server}"),
    }
}

fn written(stories: &[Story], is_json: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for story in stories {
        if is_json {
            text.push_str(&serde_json::to_string(story)?);
            text.push('\n');
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&story.to_string());
        }
    }
    Ok(text)
}

/// Returns the stories of a query's groups.
///
/// # Errors
/// The past cannot be read.
pub(super) fn of_groups(past: &Past, query: &Query) -> anyhow::Result<Vec<Story>> {
    let mut stories = Vec::new();
    for group in past.groups(query)? {
        let Some(cause) = group.causes.first() else {
            continue;
        };
        let latest = past.verdict(&cause.verdict)?;
        let verdicts = match latest {
            Some(latest) => with_earlier(past, latest)?,
            None => continue,
        };
        let Some(mut story) = Story::of(verdicts) else {
            continue;
        };
        let everywhere = Query {
            clients: vec![IpNet::from(group.client)],
            apps: group.app.clone().into_iter().collect(),
            all: true,
            ..self::query(OTHERS_MAX)
        };
        story.same_app = past.groups(&everywhere)?;
        story.same_app.retain(|it| it.name != group.name);
        let name = glob::Pattern::new(&glob::Pattern::escape(&group.name))?;
        let everybody = Query {
            names: vec![name],
            all: true,
            ..self::query(OTHERS_MAX)
        };
        story.same_name = past.groups(&everybody)?;
        story.same_name.retain(|it| !is_same(it, &group));
        story.group = Some(group);
        stories.push(story);
    }
    Ok(stories)
}

fn is_same(one: &Group, other: &Group) -> bool {
    one.client == other.client && one.app == other.app
}

/// Returns a verdict after those that it replaced.
fn with_earlier(past: &Past, latest: StoredVerdict) -> anyhow::Result<Vec<StoredVerdict>> {
    let mut verdicts = vec![latest];
    while let Some(earlier) = verdicts
        .last()
        .and_then(|it| it.verdict.supersedes.as_deref())
        && let Some(earlier) = past.verdict(earlier)?
    {
        verdicts.push(earlier);
    }
    verdicts.reverse();
    Ok(verdicts)
}

/// Returns the stories of the connections that these verdicts are about: ports are used again.
fn of_connection(verdicts: Vec<StoredVerdict>) -> Vec<Story> {
    let mut connections: Vec<Vec<StoredVerdict>> = Vec::new();
    for verdict in verdicts {
        let replaced = verdict.verdict.supersedes.as_deref();
        let connection = connections.iter_mut().find(|it| {
            let last = it.last().map(|last| last.verdict.id.as_str());
            replaced.is_some() && last == replaced
        });
        match connection {
            Some(connection) => connection.push(verdict),
            None => connections.push(vec![verdict]),
        }
    }
    connections.into_iter().filter_map(Story::of).collect()
}
