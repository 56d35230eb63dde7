//! `tlswhy why`: one story in plain words.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{past, show};
use crate::operate::cli::{Asked, EXIT_DONE, EXIT_FAILED, WhyArgs};
use crate::outlet::database::{Group, Past, Query, StoredVerdict};
use crate::outlet::story::{Remainder, Story};

/// Maximum number of groups that a story is compared with.
const OTHERS_MAX: usize = 1_000;

/// Tells the stories of the most frequent failures.
///
/// # Errors
/// The past cannot be read, or the output cannot be written.
pub fn run(arguments: &WhyArgs) -> anyhow::Result<u8> {
    let (past, is_whole) = past::open(&arguments.past)?;
    let mut remainders = Vec::new();
    let stories = match &arguments.asked {
        Asked::Name(name) => {
            let (stories, rest) = of_name(&past, name, arguments.limit)?;
            remainders = rest;
            stories
        }
        Asked::Client(address) => {
            let (stories, rest) = of_address(&past, *address, arguments.limit)?;
            remainders = rest;
            stories
        }
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
    if stories.is_empty() && remainders.is_empty() {
        complain!(
            "tlswhy: no failure of {} is known",
            described(&arguments.asked)
        );
        return Ok(EXIT_FAILED);
    }
    let mut text = written(&stories, arguments.json)?;
    if !text.is_empty() && !remainders.is_empty() && !arguments.json {
        text.push('\n');
    }
    text.push_str(&written(&remainders, arguments.json)?);
    show(&text)?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

/// Stories, and groups of which numbers alone are left.
type Told = (Vec<Story>, Vec<Remainder>);

fn of_name(past: &Past, name: &str, limit: usize) -> anyhow::Result<Told> {
    let names = vec![glob::Pattern::new(&glob::Pattern::escape(name))?];
    told(
        past,
        &Query {
            names,
            ..query(limit)
        },
    )
}

/// Returns the stories of a client, or of the servers without a name at this address.
fn of_address(past: &Past, address: IpAddr, limit: usize) -> anyhow::Result<Told> {
    let clients = vec![IpNet::from(address)];
    let told = told(
        past,
        &Query {
            clients,
            ..query(limit)
        },
    )?;
    if told.0.is_empty() && told.1.is_empty() {
        return of_name(past, &address.to_string(), limit);
    }
    Ok(told)
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

fn written(stories: &[impl Serialize + Display], is_json: bool) -> anyhow::Result<String> {
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
    Ok(told(past, query)?.0)
}

fn told(past: &Past, query: &Query) -> anyhow::Result<Told> {
    let (mut stories, mut remainders) = Told::default();
    for group in past.groups(query)? {
        let mut story = None;
        for cause in &group.causes {
            if let Some(latest) = past.verdict(&cause.verdict)? {
                story = Story::of(with_earlier(past, latest)?);
                break;
            }
        }
        let (same_app, same_name) = others(past, &group)?;
        match story {
            Some(story) => stories.push(Story {
                same_app,
                same_name,
                group: Some(group),
                ..story
            }),
            None => remainders.push(Remainder {
                group,
                same_app,
                same_name,
            }),
        }
    }
    Ok((stories, remainders))
}

/// Returns the groups of the same client and app, and those of the same name.
fn others(past: &Past, group: &Group) -> anyhow::Result<(Vec<Group>, Vec<Group>)> {
    let everywhere = Query {
        clients: vec![IpNet::from(group.client)],
        apps: group.app.clone().into_iter().collect(),
        all: true,
        ..query(OTHERS_MAX)
    };
    let mut same_app = past.groups(&everywhere)?;
    same_app.retain(|it| it.name != group.name);
    let name = glob::Pattern::new(&glob::Pattern::escape(&group.name))?;
    let everybody = Query {
        names: vec![name],
        all: true,
        ..query(OTHERS_MAX)
    };
    let mut same_name = past.groups(&everybody)?;
    same_name.retain(|it| !is_same(it, group));
    Ok((same_app, same_name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::database::tests::past_without_verdicts;

    #[test]
    fn a_group_whose_verdicts_are_gone_is_told_by_its_numbers() {
        let past = past_without_verdicts();
        let (stories, remainders) = of_name(&past, "api.pinned.test", 10).unwrap();
        assert_eq!((stories.len(), remainders.len()), (0, 1));
        let text = written(&remainders, false).unwrap();
        let beginning =
            "api.pinned.test: pinning (97 %). The app accepts only its own certificate or key.\n";
        assert!(text.starts_with(beginning), "{text}");
        assert!(text.contains("1 of 2 connections failed"), "{text}");
        assert!(text.contains("no longer in the database"), "{text}");
        let json = written(&remainders, true).unwrap();
        assert!(
            json.starts_with(r#"{"group":{"client":"10.0.1.2","#),
            "{json}"
        );
    }
}
