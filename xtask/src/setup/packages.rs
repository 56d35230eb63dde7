//! The one table of packages: the steps that need each, and the sign that it is there.

/// A group of packages that commands need together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Building, the demo, and most tests.
    Base,
    /// The client programs of the corpus.
    Clients,
    /// The servers of the corpus.
    Origins,
    /// The interceptors of the corpus.
    Interceptors,
    /// Making packages and trying them on a clean machine.
    Packaging,
    /// Building for arm64, and running its unit tests.
    Cross,
    /// Booting an older kernel.
    OldKernel,
    /// Debian's compiler with a precompiled core library for eBPF.
    EbpfCompiler,
    /// The LLVM that Debian's compiler uses.
    EbpfLinker,
}

impl Group {
    /// The groups that the tests need.
    pub const TESTS: &[Self] = &[
        Self::Base,
        Self::Clients,
        Self::Origins,
        Self::Interceptors,
        Self::Packaging,
    ];
    /// The groups that the corpus needs.
    pub const CORPUS: &[Self] = &[Self::Base, Self::Clients, Self::Origins, Self::Interceptors];
}

/// A package of Debian, or a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name; a crate's has a version (`cargo-deb@3.8.0`), a package of Debian's has none.
    pub name: &'static str,
    /// Files, or programs on PATH, that it brings; it is there if all of them are.
    pub probes: &'static [&'static str],
    /// Its purpose, for people.
    pub purpose: &'static str,
    /// The group that it belongs to.
    pub group: Group,
}

impl Package {
    /// Returns whether cargo installs it.
    #[must_use]
    pub fn is_crate(&self) -> bool {
        self.name.contains('@')
    }
}

const fn package(
    group: Group,
    name: &'static str,
    probes: &'static [&'static str],
    purpose: &'static str,
) -> Package {
    Package {
        name,
        probes,
        purpose,
        group,
    }
}

/// All packages.
#[rustfmt::skip]
pub const PACKAGES: &[Package] = &[
    package(Group::Base, "gcc", &["cc"], "building"),
    package(Group::Base, "iproute2", &["ip"], "network namespaces"),
    package(Group::Base, "nftables", &["nft"], "sending connections into the interceptor"),
    package(Group::Base, "iptables", &["iptables"], "the same by iptables, in tests"),
    package(Group::Base, "sslsplit", &["sslsplit"], "the interceptor"),
    package(Group::Base, "openssl", &["openssl"], "certificates, a server and a client"),
    package(Group::Base, "curl", &["curl"], "a client"),
    package(Group::Base, "default-jdk-headless", &["javac", "java"], "the app that pins its server's key"),
    package(Group::Base, "systemd", &["/lib/systemd/systemd-journald", "journalctl"], "the journal"),
    package(Group::Base, "tcpdump", &["tcpdump"], "recording packets in tests"),
    package(Group::Base, "util-linux", &["setpriv", "nsenter"], "dropping privileges and entering containers in tests"),
    package(Group::Base, "ethtool", &["ethtool"], "switching offloads in tests"),
    package(Group::Base, "prometheus", &["promtool"], "checking metrics and alerts in tests"),
    package(Group::Base, "nats-server", &["nats-server"], "the fleet's server in tests"),
    package(Group::Clients, "gnutls-bin", &["gnutls-cli"], "a client"),
    package(Group::Clients, "wget", &["wget"], "a client"),
    package(Group::Clients, "libnss3-tools", &["tstclnt", "certutil", "pk12util"], "a client and its certificates"),
    package(Group::Clients, "chromium", &["chromium"], "a client"),
    package(Group::Clients, "python3", &["/usr/bin/python3"], "clients"),
    package(Group::Clients, "python3-requests", &["/usr/lib/python3/dist-packages/requests/__init__.py"], "a client"),
    package(Group::Clients, "python3-urllib3", &["/usr/lib/python3/dist-packages/urllib3/__init__.py"], "a client"),
    package(Group::Clients, "libokhttp-java", &["/usr/share/java/okhttp.jar"], "a client"),
    package(Group::Clients, "libokio-java", &["/usr/share/java/okio.jar"], "a client"),
    package(Group::Clients, "nodejs", &["node"], "a client"),
    package(Group::Clients, "golang-go", &["go"], "clients"),
    package(Group::Origins, "nginx-light", &["nginx"], "an origin"),
    package(Group::Interceptors, "squid-openssl", &["squid", "/usr/lib/squid/security_file_certgen"], "an interceptor"),
    package(Group::Interceptors, "mitmproxy", &["mitmdump"], "an interceptor"),
    package(Group::Packaging, "dpkg-dev", &["dpkg-shlibdeps"], "making packages"),
    package(Group::Packaging, "debootstrap", &["debootstrap"], "a clean Debian to install on"),
    package(Group::Packaging, "systemd-container", &["systemd-nspawn"], "booting it"),
    package(Group::Packaging, "rpm", &["rpm"], "reading the .rpm"),
    package(Group::Packaging, "cargo-deb@3.8.0", &["cargo-deb"], "making packages"),
    package(Group::Packaging, "cargo-generate-rpm@0.21.1", &["cargo-generate-rpm"], "making packages"),
    package(Group::Cross, "gcc-aarch64-linux-gnu", &["aarch64-linux-gnu-gcc"], "building for arm64"),
    package(Group::Cross, "libc6-dev-arm64-cross", &["/usr/aarch64-linux-gnu/include/stdio.h"], "building for arm64"),
    package(Group::Cross, "qemu-user-static", &["qemu-aarch64-static"], "running unit tests for arm64"),
    package(Group::OldKernel, "qemu-system-x86", &["qemu-system-x86_64"], "booting an older kernel"),
    package(Group::OldKernel, "bpftool", &["bpftool"], "running programs on an older kernel"),
    package(Group::OldKernel, "binutils", &["strip"], "making programs small for an older kernel's machine"),
    package(Group::EbpfCompiler, "rustc-web", &["/usr/bin/rustc"], "compiling eBPF"),
    package(Group::EbpfCompiler, "cargo-web", &["/usr/bin/cargo"], "compiling eBPF"),
    package(Group::EbpfCompiler, "libstd-rust-web-dev-bpf", &["/usr/lib/rustlib/bpfel-unknown-none"], "compiling eBPF"),
    package(Group::EbpfLinker, "llvm-22-dev", &["/usr/lib/llvm-22"], "linking eBPF"),
];

/// Returns the package that brings a file or program.
#[must_use]
pub fn package_of(probe: &str) -> Option<&'static str> {
    let brings = |package: &&Package| package.probes.contains(&probe);
    PACKAGES.iter().find(brings).map(|package| package.name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_package_and_no_probe_is_listed_twice() {
        let mut names = HashSet::new();
        let mut probes = HashSet::new();
        for package in PACKAGES {
            assert!(names.insert(package.name), "{}", package.name);
            for probe in package.probes {
                assert!(probes.insert(probe), "{probe}");
            }
        }
    }

    #[test]
    fn the_package_of_a_program_is_found() {
        assert_eq!(package_of("certutil"), Some("libnss3-tools"));
        assert_eq!(package_of("no-such-program"), None);
    }
}
