//! `tlswhy why`: one story in plain words.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{past, show};
use crate::operate::cli::{Asked, EXIT_DONE, EXIT_FAILED, WhyArgs};
use crate::outlet::database::{DatabaseError, Past, Query, StoredVerdict, exactly};
use crate::outlet::stories::stories_and_remainders;
use crate::outlet::story::{Remainder, Story};

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
    let is_json = arguments.is_json();
    let mut text = written(&stories, is_json)?;
    if !text.is_empty() && !remainders.is_empty() && !is_json {
        text.push('\n');
    }
    text.push_str(&written(&remainders, is_json)?);
    show(&text)?;
    Ok(if is_whole { EXIT_DONE } else { EXIT_FAILED })
}

/// Stories, and groups of which numbers alone are left.
type Told = (Vec<Story>, Vec<Remainder>);

fn of_name(past: &Past, name: &str, limit: usize) -> Result<Told, DatabaseError> {
    let names = vec![exactly(name)];
    stories_and_remainders(
        past,
        &Query {
            names,
            ..query(limit)
        },
    )
}

/// Returns the stories of a client, or of the servers without a name at this address.
fn of_address(past: &Past, address: IpAddr, limit: usize) -> Result<Told, DatabaseError> {
    let clients = vec![IpNet::from(address)];
    let told = stories_and_remainders(
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
