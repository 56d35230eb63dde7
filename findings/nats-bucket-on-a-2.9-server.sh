#!/usr/bin/env bash
#
# Subject      async-nats 0.51.0 (crates.io) with a nats-server 2.9, as Debian 12 has it.
# Expected     A key-value bucket is a stream with certain settings (NATS' ADR-8), which
#              servers know since 2.6. The crate guards what newer servers bring by
#              features (server_2_10 and later); without them, and with everything else
#              it offers working, create_key_value should work with 2.9, too.
# Happens      create_key_value asks for the account's limits first, and expects
#              reserved_memory and reserved_storage in the answer, which servers before
#              2.10 do not send: "request failed: data did not match any variant of
#              untagged enum Response". create_stream with the bucket's settings works,
#              and so do put and get in the bucket then.
# Why it       The message names neither the bucket, nor the field, nor the server's
# matters      version; a service that keeps state in a bucket never starts on the
#              stable distribution's server, while its streams work.
#
# Needs cargo, apt-get and dpkg of a Debian whose nats-server is 2.9.

set -euo pipefail

tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT

(cd "$tmp" && apt-get download -qq nats-server >/dev/null 2>&1 && dpkg -x nats-server_*.deb server)
nats="$tmp/server/usr/sbin/nats-server"
version=$("$nats" --version)
case "$version" in
*v2.9.*) ;;
*)
    echo "this distribution has another: $version" >&2
    exit 1
    ;;
esac
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$nats" -js -a 127.0.0.1 -p "$port" -sd "$tmp/store" >/dev/null 2>&1 &
server=$!

mkdir -p "$tmp/client/src"
cat > "$tmp/client/Cargo.toml" <<'TOML'
[package]
name = "client"
version = "0.0.0"
edition = "2024"

[dependencies]
async-nats = { version = "=0.51.0", default-features = false, features = ["ring", "jetstream", "kv"] }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
cat > "$tmp/client/src/main.rs" <<'RUST'
use async_nats::jetstream::{self, kv, stream};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(url).await.unwrap();
    let jetstream = jetstream::new(client);
    let bucket = kv::Config { bucket: "state".into(), history: 1, ..Default::default() };
    match jetstream.create_key_value(bucket).await {
        Ok(_) => println!("create_key_value: done"),
        Err(error) => println!("create_key_value: {error}"),
    }
    let bucket = stream::Config {
        name: "KV_state".into(),
        subjects: vec!["$KV.state.>".into()],
        max_messages_per_subject: 1,
        discard: stream::DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        ..Default::default()
    };
    jetstream.create_stream(bucket).await.unwrap();
    let bucket = jetstream.get_key_value("state").await.unwrap();
    bucket.put("key", "value".into()).await.unwrap();
    let value = bucket.get("key").await.unwrap().unwrap();
    println!("create_stream, put and get: {}", String::from_utf8_lossy(&value));
}
RUST
cargo build --quiet --manifest-path "$tmp/client/Cargo.toml"
seen=$("$tmp/client/target/debug/client" "nats://127.0.0.1:$port")
echo "$version"
echo "$seen"

expected='create_key_value: .*did not match any variant of untagged enum Response'
if ! grep -q "$expected" <<<"$seen" || ! grep -q 'create_stream, put and get: value' <<<"$seen"; then
    echo "no longer as described" >&2
    exit 1
fi
