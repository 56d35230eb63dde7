//! The identity of verdicts, by which readers count connections and drop replaced verdicts.

use sha2::{Digest, Sha256};

use super::Verdict;

impl Verdict {
    /// Numbers this verdict of its connection, 0 for the first, and sets `id` and `supersedes`, which
    /// follow from the number and from the connection: its tap, Community ID, VLANs and times.
    pub(crate) fn set_revision(&mut self, revision: u32) {
        self.id = self.id_of(revision);
        self.revision = revision;
        self.supersedes = revision.checked_sub(1).map(|previous| self.id_of(previous));
    }

    /// Returns a number that all verdicts on this connection share.
    pub(crate) fn connection_id(&self) -> u64 {
        self.number_of(0)
    }

    fn id_of(&self, revision: u32) -> String {
        format!("{:016x}", self.number_of(revision))
    }

    fn number_of(&self, revision: u32) -> u64 {
        let mut hash = Sha256::new();
        for text in [&self.tap, &self.community_id] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update((self.vlan.len() as u64).to_le_bytes());
        for vlan in &self.vlan {
            hash.update(vlan.to_le_bytes());
        }
        hash.update(self.time.as_nanosecond().to_le_bytes());
        let duration = self.duration_ms.unwrap_or_default();
        hash.update(duration.to_bits().to_le_bytes());
        hash.update(revision.to_le_bytes());
        let digest = hash.finalize();
        let start = digest.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(start)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::verdict::Verdict;
    use crate::verdict::tests::pinning;

    fn numbered(mut verdict: Verdict, revision: u32) -> Verdict {
        verdict.set_revision(revision);
        verdict
    }

    #[test]
    fn each_revision_supersedes_the_one_before() {
        let [first, second, third] = [0, 1, 2].map(|revision| numbered(pinning(), revision));
        assert_eq!((first.revision, &first.supersedes), (0, &None));
        assert_eq!(second.supersedes, Some(first.id.clone()));
        assert_eq!(third.supersedes, Some(second.id.clone()));
        assert_eq!(third.revision, 2);
        // However the cause and the evidence changed meanwhile.
        let mut changed = pinning();
        changed.evidence.clear();
        changed.confidence = 0.1;
        assert_eq!(numbered(changed, 0).id, first.id);
    }

    #[test]
    fn verdicts_of_different_connections_have_different_ids() {
        let mut verdicts = vec![pinning(); 6];
        verdicts[1].tap = "lan1".into();
        verdicts[2].community_id.push('x');
        verdicts[3].vlan = vec![7];
        verdicts[4].time += jiff::SignedDuration::from_nanos(1);
        verdicts[5].duration_ms = None;
        let ids: HashSet<String> = verdicts
            .into_iter()
            .map(|verdict| numbered(verdict, 0).id)
            .collect();
        assert_eq!(ids.len(), 6);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
