package rpc_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/rpc"
	"github.com/interlock-lb/interlock/internal/wire"
)

// anonymous is a client that shows no certificate.
func anonymous(a authority, protocols ...string) *tls.Config {
	config := a.identity(theCore).ClientConfig(eastProx)
	config.GetClientCertificate = nil
	config.NextProtos = protocols
	return config
}

func get(t *testing.T, config *tls.Config, url string) (*http.Response, string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport, Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestAnybodyMayAskAnAgentForItsHealth(t *testing.T) {
	authority := newAuthority(t)
	address, _ := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
	for name, config := range map[string]*tls.Config{
		"without a certificate": anonymous(authority),
		"with the core's":       authority.identity(theCore).ClientConfig(eastProx),
	} {
		t.Run(name, func(t *testing.T) {
			response, body, err := get(t, config, "https://"+address.String()+"/healthz")
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusOK || body != "healthy" {
				t.Errorf("the answer is %s: %q", response.Status, body)
			}
		})
	}
}

func TestAnAgentTellsStrangersNothingButItsHealth(t *testing.T) {
	authority := newAuthority(t)
	address, _ := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
	for _, path := range []string{"/", "/healthz/x", interlockv1.AgentService_ApplyBundle_FullMethodName} {
		response, _, err := get(t, anonymous(authority), "https://"+address.String()+path)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered with %s", path, response.Status)
		}
	}
}

func TestOnlyTheCoreGetsToAnAgentsGRPC(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	for name, identity := range map[string]*pki.Identity{
		"a foreign core": newAuthority(t).identity(theCore),
		"an extension":   authority.identity(eastExt),
		"a proxy":        authority.identity(eastProx),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), identity, eastProx))
			_, err := client.ApplyBundle(ctx, &interlockv1.ApplyBundleRequest{})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the call ended with: %v", err)
			}
		})
	}
	if got := fake.versions(); len(got) != 0 {
		t.Errorf("the agent was sent %v", got)
	}
}

func TestAClientWithoutACertificateDoesNotGetToAnAgentsGRPC(t *testing.T) {
	authority, log := newAuthority(t), &journal{}
	address, _ := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", log.logger())
	conn, err := tls.Dial("tcp", address.String(), anonymous(authority, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("it was sent %d bytes", n)
	}
	eventually(t, "the refusal is logged", func() bool { return log.count("the peer has shown no certificate") == 1 })
}

func TestABundleThatCannotBeReadDoesNotReachTheProxy(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), authority.identity(theCore), eastProx))
	for want, bundle := range map[string]*interlockv1.Bundle{
		"no bundle in the message": nil,
		"the path must be":         {Files: []*interlockv1.File{{Path: "../x"}}},
		"the message says":         {Files: []*interlockv1.File{{Path: "/x"}}, Version: "x"},
	} {
		_, err := client.ApplyBundle(t.Context(), &interlockv1.ApplyBundleRequest{Bundle: bundle})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	if got := fake.versions(); len(got) != 0 {
		t.Errorf("the agent was sent %v", got)
	}
}

func TestTroubleThatMayPassIsToldApartFromARefusal(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	fake.judge = func(render.Bundle) error { return errors.New("no space left on device") }
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "its status says so", func(s []delivery.Status) bool {
		return len(s) == 1 && s[0].LastError == "no space left on device" && s[0].RefusedVersion == ""
	})
	client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), authority.identity(theCore), eastProx))
	if _, err := client.ApplyBundle(t.Context(), &interlockv1.ApplyBundleRequest{Bundle: wire.BundleMessage(&b.Bundle)}); status.Code(err) != codes.Internal {
		t.Errorf("the call ended with: %v", err)
	}
}

// garbage is what port scanners and lost clients send.
var garbage = map[string]string{
	"plain HTTP":   "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	"HTTP/2":       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	"random bytes": "\x8f\x00\xff\x13\x37 nothing in particular \x00\x00\x00\x00",
	"half a hello": "\x16\x03\x01\x02\x00\x01\x00",
	"nothing":      "",
}

func sendGarbage(t *testing.T, address, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer, _ := io.ReadAll(conn) // may end with a reset
	if len(answer) > 64 {
		t.Errorf("it is answered with %d bytes: %q", len(answer), answer)
	}
}

func TestGarbageOnTheAgentsPortIsLoggedOnceAndHasNoEffect(t *testing.T) {
	authority, fake, log, b := newAuthority(t), newFakeAgent(), &journal{}, bundleOf("a")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", log.logger())
	for range 3 {
		for _, text := range garbage {
			sendGarbage(t, address.String(), text)
		}
	}
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "the core gets through all the same", serving(b.Version()))
	if got := log.count("connection refused"); got != 1 {
		t.Errorf("it was logged %d times:\n%s", got, log)
	}
	if got := fake.versions(); len(got) != 1 {
		t.Errorf("the agent was sent %v", got)
	}
}

func TestAHealthCheckIsAnsweredAndNotLogged(t *testing.T) {
	authority, log := newAuthority(t), &journal{}
	endpoint, _ := serveTables(t, newFakeTables(), authority, "127.0.0.1:0", log.logger())
	conn, err := tls.Dial("tcp", endpoint, &tls.Config{InsecureSkipVerify: true, ServerName: rpc.HealthName})
	if err != nil {
		t.Fatal(err)
	}
	// The server ends it once it has seen that there is no certificate.
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it is talked to")
	}
	conn.Close()
	if got := log.count("connection refused"); got != 0 {
		t.Errorf("it is logged:\n%s", log)
	}
}

func TestGarbageOnTheCoresPortIsLoggedOnceAndHasNoEffect(t *testing.T) {
	authority, tables, log := newAuthority(t), newFakeTables(), &journal{}
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", log.logger())
	for range 3 {
		for _, text := range garbage {
			sendGarbage(t, endpoint, text)
		}
	}
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publish("us-east", 1, "a.example.com")
	receive(t, tables.answers, "a bundle")
	if got := log.count("connection refused"); got != 1 {
		t.Errorf("it was logged %d times:\n%s", got, log)
	}
}

// silentConnections are strangers that say nothing, all from one address.
func silentConnections(t *testing.T, count int, dial func() (net.Conn, error)) {
	t.Helper()
	for range count {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestStrangersThatSayNothingDoNotKeepTheCoreOut(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	silentConnections(t, 600, func() (net.Conn, error) { return net.Dial("tcp", address.String()) })
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "the core gets through", serving(b.Version()))
	if _, body, err := get(t, anonymous(authority), fmt.Sprintf("https://%s/healthz", address)); err != nil || body != "healthy" {
		t.Errorf("its health: %q, %v", body, err)
	}
	silentConnections(t, 600, func() (net.Conn, error) { return net.Dial("tcp", address.String()) })
	if statuses, _ := d.Statuses(); !statuses[0].Connected {
		t.Error("a crowd that came later drove the core out")
	}
}

func TestStrangersThatOccupyTheHealthCheckKeepNobodyOut(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "it serves", serving(b.Version()))
	silentConnections(t, 40, func() (net.Conn, error) { return tls.Dial("tcp", address.String(), anonymous(authority)) })
	if _, body, err := get(t, anonymous(authority), fmt.Sprintf("https://%s/healthz", address)); err != nil || body != "healthy" {
		t.Errorf("its health: %q, %v", body, err)
	}
	if statuses, _ := d.Statuses(); !statuses[0].Connected {
		t.Error("a crowd of health checks drove the core out")
	}
}

// A dead machine neither answers nor hangs up. The relay between the core and
// the agent plays dead by forwarding nothing any more.
func TestAProxyThatDiesSilentlyIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the keepalive's 14 seconds")
	}
	t.Parallel()
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	relay := relayTo(t, address)
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", relay.address)}, b)
	awaitStatus(t, d, "it serves", serving(b.Version()))
	close(relay.dead)
	awaitStatus(t, d, "it is missed", func(s []delivery.Status) bool { return !s[0].Connected })
}
