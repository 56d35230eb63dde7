// A client of Node's https; see request.sh for the arguments. Its pin is checked where Node says
// that pins be checked: in checkServerIdentity.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const https = require('https');
const tls = require('tls');

const [host, port, path, version, ca, spki, , certificate, key, times] = process.argv.slice(2);

const options = { host, port, path, servername: host, timeout: 20000 };
const versions = { tls12: 'TLSv1.2', tls13: 'TLSv1.3' };
if (version in versions) {
  options.minVersion = options.maxVersion = versions[version];
}
if (ca !== '-') {
  options.ca = fs.readFileSync(ca);
}
if (certificate !== '-') {
  options.cert = fs.readFileSync(certificate);
  options.key = fs.readFileSync(key);
}
if (spki !== '-') {
  options.checkServerIdentity = (name, peer) => {
    const wrongName = tls.checkServerIdentity(name, peer);
    if (wrongName) {
      return wrongName;
    }
    const shown = new crypto.X509Certificate(peer.raw).publicKey.export({ type: 'spki', format: 'der' });
    if (crypto.createHash('sha256').update(shown).digest('base64') !== spki) {
      return new Error('the server\'s key is not the pinned one');
    }
    return undefined;
  };
}
// Keeps sessions, not connections.
options.agent = new https.Agent({ keepAlive: false });

function fail(reason) {
  console.log(reason);
  process.exit(1);
}

function run(left) {
  if (left === 0) {
    return;
  }
  const request = https.get(options, (response) => {
    if (response.statusCode >= 400) {
      fail(`answered with HTTP ${response.statusCode}`);
    }
    response.resume();
    response.on('end', () => run(left - 1));
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', (error) => fail(error.message.split('\n')[0]));
}

run(Number(times));
