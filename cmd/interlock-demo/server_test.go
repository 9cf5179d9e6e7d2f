package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestAtTheEndARunningRequestFinishes(t *testing.T) {
	d := serve(t, newApp(identity{}), drainLimit)
	conn := d.begin(t, "/slow?for=400ms")
	d.stop()
	if err := d.end(t); err != nil {
		t.Errorf("the app ended with %v, want no error", err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK") {
		t.Errorf("the running request got %q, want a whole answer", answer)
	}
}

func TestAtTheEndNobodyNewIsServed(t *testing.T) {
	d := start(t, nil)
	d.stop()
	if err := d.end(t); err != nil {
		t.Fatal(err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.address); err == nil {
		conn.Close()
		t.Error("the app still accepts connections")
	}
}

func TestARequestThatOutlastsTheLimitIsCutAndReported(t *testing.T) {
	d := serve(t, newApp(identity{}), 50*time.Millisecond)
	conn := d.begin(t, "/slow?for=50s")
	d.stop()
	if err := d.end(t); err == nil || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("the app ended with %v, want an error that names the limit", err)
	}
	if body, _ := io.ReadAll(conn); len(body) > 0 {
		t.Errorf("the request that was cut got %q", body)
	}
}

func TestWebsocketMessagesComeBack(t *testing.T) {
	conn := dialWebsocket(t, start(t, nil))
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		if err := conn.Write(t.Context(), kind, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		gotKind, got, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if gotKind != kind || string(got) != "hello" {
			t.Errorf("sent hello as %v, got %q as %v", kind, got, gotKind)
		}
	}
}

func TestAtTheEndWebsocketsAreToldToLeave(t *testing.T) {
	d := start(t, nil)
	conn := dialWebsocket(t, d)
	d.stop()
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the websocket ended with %v, want status going away", err)
	}
	if err := d.end(t); err != nil {
		t.Errorf("the app ended with %v, want no error", err)
	}
}

func TestAMessageThatIsTooLongClosesItsWebsocketOnly(t *testing.T) {
	d := start(t, nil)
	conn := dialWebsocket(t, d)
	if err := conn.Write(t.Context(), websocket.MessageText, make([]byte, maxEchoBytes+1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("the websocket ended with %v, want status message too big", err)
	}
	if response, _ := d.get(t, "/ping", nil); response.StatusCode != http.StatusOK {
		t.Errorf("/ping answers %s afterwards", response.Status)
	}
}

func TestWithACertificateTheAppSpeaksTLS(t *testing.T) {
	certFile, keyFile, roots := writeCertificate(t)
	d := start(t, nil, "--tls-cert="+certFile, "--tls-key="+keyFile)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+d.address+"/ping", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); !strings.Contains(string(body), `"instance"`) {
		t.Errorf("/ping answered %s %q over TLS", response.Status, body)
	}
}

// begin sends a request on a connection of its own and returns once the app has
// begun to read it.
func (d *demo) begin(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.active:
	case <-time.After(patience):
		t.Fatal("the app did not read the request")
	}
	return conn
}

func dialWebsocket(t *testing.T, d *demo) *websocket.Conn {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "ws://"+d.address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.Body != nil {
		response.Body.Close()
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// serve serves an app of a known identity, or with a drain limit of its own.
func serve(t *testing.T, a *app, drain time.Duration) *demo {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d := &demo{
		address: listener.Addr().String(),
		stop:    stop,
		ended:   make(chan error, 1),
		active:  make(chan struct{}, 100),
	}
	server := newServer(a, nil, drain)
	// Only a request that has reached its handler is sure to be answered: a
	// server that shuts down drops what it has just read.
	handler := server.http.Handler
	server.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.active <- struct{}{}
		handler.ServeHTTP(w, r)
	})
	go func() { d.ended <- server.serve(ctx, listener, io.Discard) }()
	t.Cleanup(func() {
		stop()
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

// writeCertificate makes a certificate for 127.0.0.1 and returns its files and
// the roots that trust it.
func writeCertificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes})
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, content := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}
