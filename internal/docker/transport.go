package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/client"
)

const (
	dialLimit = 5 * time.Second
	// answerLimit bounds the wait for an answer's first byte; of the event
	// stream too, which the engine opens at once.
	answerLimit = 30 * time.Second
	idleLimit   = 30 * time.Second
	// idleConns is enough to keep the connections of one reading.
	idleConns = 8
)

// maxSocketPath is the length in bytes from which on no socket can have a path.
const maxSocketPath = 108

// access is how a Docker API is reached.
type access struct {
	transport *http.Transport
	base      string // what the address of a request begins with
	host      string // as the typed client names it
}

// newAccess takes the URLs that internal/settings takes.
func newAccess(opts Options) (access, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return access{}, faultyURL(opts.URL, err.Error())
	}
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "unix" && u.Host == "" && path.IsAbs(u.Path) && u.Path != "/" && len(u.Path) < maxSocketPath:
		return onSocket(u.Path), nil
	case slices.Contains([]string{"tcp", "http", "https"}, u.Scheme) && hasHostAndPort(u) && (u.Path == "" || u.Path == "/"):
		return onNetwork(u, opts)
	}
	return access{}, faultyURL(opts.URL, "it must read unix:///path/to/docker.sock, tcp://host:port, http://host:port or https://host:port")
}

func hasHostAndPort(u *url.URL) bool {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port != 0 && u.Hostname() != ""
}

func onSocket(socket string) access {
	transport := newTransport()
	dialer := &net.Dialer{Timeout: dialLimit}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", socket)
	}
	return access{transport, "http://" + client.DummyHost, "unix://" + socket}
}

func onNetwork(u *url.URL, opts Options) (access, error) {
	files := opts.CACert != "" || opts.Cert != "" || opts.Key != ""
	if u.Scheme == "http" && files {
		return access{}, faultyURL(opts.URL, "http is spoken without TLS, but TLS files are given; write https://"+u.Host)
	}
	transport := newTransport()
	transport.Proxy = http.ProxyFromEnvironment // as Docker's own client does
	transport.DialContext = (&net.Dialer{Timeout: dialLimit}).DialContext
	to := access{transport, "http://" + u.Host, "tcp://" + u.Host}
	if u.Scheme == "https" || u.Scheme == "tcp" && (files || opts.AllowInsecure) {
		config, err := tlsConfig(opts)
		if err != nil {
			return access{}, err
		}
		transport.TLSClientConfig = config // by which the typed client knows that it is TLS
		to.base = "https://" + u.Host
	}
	return to, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleLimit,
		ResponseHeaderTimeout: answerLimit,
		TLSHandshakeTimeout:   dialLimit,
	}
}

func faultyURL(given, why string) error {
	return fmt.Errorf("the Docker API's address %q cannot be used: %s", given, why)
}

func tlsConfig(opts Options) (*tls.Config, error) {
	if (opts.Cert == "") != (opts.Key == "") {
		return nil, errors.New("a client certificate for the Docker API needs both the certificate and its key")
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: opts.AllowInsecure, // the operator's own choice, and named so
	}
	if opts.CACert != "" {
		pem, err := os.ReadFile(opts.CACert)
		if err != nil {
			return nil, fmt.Errorf("reading the Docker API's CA certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the Docker API's CA certificate %s holds no certificate in PEM form", opts.CACert)
		}
	}
	if opts.Cert != "" {
		pair, err := tls.LoadX509KeyPair(opts.Cert, opts.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate for the Docker API: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
