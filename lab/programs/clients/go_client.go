// A client of Go's net/http; see request.sh for the arguments after the first, which says where a
// pin is checked: "verify" in VerifyPeerCertificate, "after" once the handshake is done.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

var errPin = errors.New("the server's key is not the pinned one")

func isPinned(certificate *x509.Certificate, pin string) bool {
	key := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(key[:]) == pin
}

func configuration(version, ca, certificate, key string) (*tls.Config, error) {
	config := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	switch version {
	case "tls12":
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	case "tls13":
		config.MinVersion = tls.VersionTLS13
	}
	if ca != "-" {
		file, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(file)
	}
	if certificate != "-" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// dialAndCheck looks at the key when the handshake is done, and closes if it is another.
func dialAndCheck(config *tls.Config, pin string) func(context.Context, string, string) (net.Conn, error) {
	dialer := tls.Dialer{Config: config}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		state := connection.(*tls.Conn).ConnectionState()
		if !isPinned(state.PeerCertificates[0], pin) {
			connection.Close()
			return nil, errPin
		}
		return connection, nil
	}
}

func run(arguments []string) error {
	check, host, port, path, pin := arguments[0], arguments[1], arguments[2], arguments[3], arguments[6]
	config, err := configuration(arguments[4], arguments[5], arguments[8], arguments[9])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(arguments[10])
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	if pin != "-" && check == "after" {
		transport.DialTLSContext = dialAndCheck(config, pin)
	} else if pin != "-" {
		config.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
			if !isPinned(chains[0][0], pin) {
				return errPin
			}
			return nil
		}
	}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for ; times > 0; times-- {
		response, err := client.Get("https://" + net.JoinHostPort(host, port) + path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		if response.StatusCode >= 400 {
			return fmt.Errorf("answered with %s %s", response.Proto, response.Status)
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
