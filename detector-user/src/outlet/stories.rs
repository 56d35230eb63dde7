//! Stories of groups: the past asked for each group's latest failure, its history, and the groups beside it.

use ipnet::IpNet;

use super::database::{DatabaseError, Group, Past, Query, StoredVerdict, exactly};
use super::story::{Remainder, Story};

/// Maximum number of groups that a story is compared with.
const OTHERS_MAX: usize = 1_000;

/// Returns the stories of a query's groups.
///
/// # Errors
/// The past cannot be read.
pub fn of_groups(past: &Past, query: &Query) -> Result<Vec<Story>, DatabaseError> {
    Ok(stories_and_remainders(past, query)?.0)
}

/// Returns the stories of a query's groups, and the numbers of those whose verdicts are gone.
///
/// # Errors
/// The past cannot be read.
pub fn stories_and_remainders(
    past: &Past,
    query: &Query,
) -> Result<(Vec<Story>, Vec<Remainder>), DatabaseError> {
    let (mut stories, mut remainders) = (Vec::new(), Vec::new());
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
fn others(past: &Past, group: &Group) -> Result<(Vec<Group>, Vec<Group>), DatabaseError> {
    let everywhere = Query {
        clients: vec![IpNet::from(group.client)],
        apps: group.app.clone().into_iter().collect(),
        all: true,
        limit: OTHERS_MAX,
        ..Query::default()
    };
    let mut same_app = past.groups(&everywhere)?;
    same_app.retain(|it| it.name != group.name);
    let everybody = Query {
        names: vec![exactly(&group.name)],
        all: true,
        limit: OTHERS_MAX,
        ..Query::default()
    };
    let mut same_name = past.groups(&everybody)?;
    same_name.retain(|it| !is_same(it, group));
    Ok((same_app, same_name))
}

fn is_same(one: &Group, other: &Group) -> bool {
    one.client == other.client && one.app == other.app
}

/// Returns a verdict after those that it replaced.
fn with_earlier(past: &Past, latest: StoredVerdict) -> Result<Vec<StoredVerdict>, DatabaseError> {
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
