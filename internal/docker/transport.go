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

// newTransport returns how opts.URL is reached, and what the address of a
// request begins with.
func newTransport(opts Options) (transport *http.Transport, base string, err error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, "", faultyURL(opts.URL, err.Error())
	}
	transport = &http.Transport{
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleLimit,
		ResponseHeaderTimeout: answerLimit,
		TLSHandshakeTimeout:   dialLimit,
	}
	dialer := &net.Dialer{Timeout: dialLimit}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		if opts.CACert != "" || opts.Cert != "" || opts.Key != "" {
			return nil, "", faultyURL(opts.URL, "TLS files are for a tcp:// address only")
		}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
		return transport, "http://" + client.DummyHost, nil
	case u.Scheme == "tcp" && u.Port() != "" && (u.Path == "" || u.Path == "/"):
		transport.Proxy = http.ProxyFromEnvironment // as Docker's own client does
		transport.DialContext = dialer.DialContext
		transport.TLSClientConfig, err = tlsConfig(opts)
		if err != nil || transport.TLSClientConfig == nil {
			return transport, "http://" + u.Host, err
		}
		return transport, "https://" + u.Host, nil
	default:
		return nil, "", faultyURL(opts.URL, "it must read unix:///path/to/docker.sock or tcp://host:port")
	}
}

func faultyURL(given, why string) error {
	return fmt.Errorf("the Docker API's address %q cannot be used: %s", given, why)
}

// tlsConfig returns nil where opts asks for no TLS.
func tlsConfig(opts Options) (*tls.Config, error) {
	if opts.CACert == "" && opts.Cert == "" && opts.Key == "" && !opts.AllowInsecure {
		return nil, nil
	}
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
