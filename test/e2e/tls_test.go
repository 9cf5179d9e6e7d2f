package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/walkthrough"
)

// proof is a certificate and its key, for one host.
type proof struct {
	certificate *x509.Certificate
	root        *x509.Certificate // who trusts it trusts the certificate
	chain, key  string            // PEM
}

// prove makes a certificate that vouches for itself.
func prove(t *testing.T, host string) proof {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	p := proof{chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	if p.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.root = p.certificate
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	return p
}

// proofIn is what the page's commands have made in a folder.
func proofIn(t *testing.T, folder, chain, key string) proof {
	t.Helper()
	p := proof{chain: contentOf(t, folder, chain), key: contentOf(t, folder, key)}
	p.certificate, p.root = certificateIn(t, p.chain), certificateIn(t, contentOf(t, folder, "ca.pem"))
	return p
}

func contentOf(t *testing.T, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func certificateIn(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %s", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func createSecret(t *testing.T, name, content string) {
	t.Helper()
	if _, err := site.DockerInput(t.Context(), content, "secret", "create", name, "-"); err != nil {
		t.Fatal(err)
	}
}

// tlsClient trusts whom a proof is trusted for, and finds every host at one node.
func tlsClient(node string, trusted proof) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(trusted.root)
	address := net.JoinHostPort(cluster.Node(node).Address(), "443")
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
}

// pingTLS asks a node for a host on a connection of its own, and says how it was
// answered. Whatever is not the demo app's answer is an error.
func pingTLS(ctx context.Context, node, host string, p proof) (*http.Response, walkthrough.Pong, error) {
	client := tlsClient(node, p)
	defer client.CloseIdleConnections()
	var pong walkthrough.Pong
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/ping", http.NoBody)
	if err != nil {
		return nil, pong, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, pong, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return response, pong, err
	}
	if response.StatusCode != http.StatusOK {
		return response, pong, fmt.Errorf("%s answers %s for %s: %.200s", node, response.Status, host, body)
	}
	return response, pong, json.Unmarshal(body, &pong)
}

// waitForProof waits until an app answers over TLS on the given nodes, with this
// very certificate.
func waitForProof(t *testing.T, host, app string, p proof, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		eventually(t, app+" answers over TLS for "+host+" on "+node, func(ctx context.Context) error {
			response, pong, err := pingTLS(ctx, node, host, p)
			switch {
			case err != nil:
				return err
			case !response.TLS.PeerCertificates[0].Equal(p.certificate):
				return errors.New("it shows another certificate")
			case pong.Metadata != app:
				return fmt.Errorf("%s answers", pong.Metadata)
			}
			return nil
		})
	}
}

// createProvenApp deploys an app whose TLS ends at the proxy.
func createProvenApp(t *testing.T, name, cert, key string) {
	t.Helper()
	createApp(t, name, name+".local", "--constraint", "node.role==worker", "--replicas", "2",
		"--label", "com.docker.lb.ssl_cert="+cert, "--label", "com.docker.lb.ssl_key="+key)
}

// proxyTasks are the IDs of all tasks of the proxies, those that have ended too.
func proxyTasks(t *testing.T) string {
	t.Helper()
	return docker(t, "service", "ps", "-q", "--no-trunc", "interlock-proxy")
}

const shopHost, vaultHost = "shop.example.com", "vault.example.com"

func TestTLSIsServedAsWrittenWithTheNewestCertificateAndNoKeyOnADisk(t *testing.T) {
	w := follow(t, "tls.md")
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	w.section(t, "Ended at the proxy")
	first := proofIn(t, w.folder, "chain.pem", "key.pem")
	waitForProof(t, shopHost, "shop", first, loadBalancers...)
	for _, node := range loadBalancers {
		response, _, err := pingTLS(t.Context(), node, shopHost, first)
		if err != nil || response.ProtoMajor != 2 || response.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s answers %+v, want HTTP/2 over TLS 1.3: %v", node, response, err)
		}
	}

	renewed := renewUnderTraffic(t, w, first)
	passThrough(t, w, renewed)
	aBadPairHurtsNobodyElse(t, renewed)
	noKeyIsTold(t, first, renewed)
	noKeyIsOnADisk(t, first, renewed)
	proxiesStartWithTheirKeysAlone(t, renewed)
}

// renewUnderTraffic gives the shop another certificate while clients of all kinds
// are at work.
func renewUnderTraffic(t *testing.T, w *walk, before proof) (renewed proof) {
	t.Helper()
	tasks := proxyTasks(t)
	stop := startTLSTraffic(t, shopHost, before)
	w.section(t, "Renewal, step by step")
	renewed = proofIn(t, w.folder, "chain.pem", "key.pem")
	waitForProof(t, shopHost, "shop", renewed, loadBalancers...)
	// The extension's old task ends only now, and must change nothing.
	eventually(t, "the extension has been updated", func(context.Context) error {
		if state := docker(t, "service", "inspect", "-f", "{{.UpdateStatus.State}}", "interlock-ext"); state != "completed" {
			return fmt.Errorf("its update is %s", state)
		}
		return nil
	})
	waitForProof(t, shopHost, "shop", renewed, loadBalancers...)
	stop()
	if now := proxyTasks(t); now != tasks {
		t.Errorf("the proxies' tasks are\n%s\nand were\n%s", now, tasks)
	}
	return renewed
}

// passThrough has the vault show its own certificate beside the shop's.
func passThrough(t *testing.T, w *walk, shop proof) {
	t.Helper()
	tasks := proxyTasks(t)
	w.section(t, "Passed through")
	vault := proofIn(t, w.folder, "vault.pem", "vault.key")
	waitForProof(t, vaultHost, "vault", vault, loadBalancers...)
	waitForProof(t, shopHost, "shop", shop, loadBalancers...)
	if secrets := docker(t, "service", "inspect", "-f", "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}} {{end}}", "interlock-ext"); strings.Contains(secrets, "vault") {
		t.Errorf("the extension has the secrets %s, of which it needs none of the app's", secrets)
	}
	docker(t, "service", "rm", "vault")
	waitForProof(t, shopHost, "shop", shop, loadBalancers...)
	if now := proxyTasks(t); now != tasks {
		t.Errorf("the proxies' tasks are\n%s\nand were\n%s", now, tasks)
	}
}

// startTLSTraffic starts clients that trust whom a proof is trusted for: on every
// node one that opens a connection for each request, one that keeps its HTTP/2
// connection and one that keeps an HTTP/1.1 connection. None may lose a request
// until stop.
func startTLSTraffic(t *testing.T, host string, trusted proof) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	kinds := map[string]func(*http.Transport){
		"new connections": func(tr *http.Transport) { tr.DisableKeepAlives = true },
		"kept HTTP/2":     func(*http.Transport) {},
		"kept HTTP/1.1":   func(tr *http.Transport) { tr.ForceAttemptHTTP2 = false },
	}
	clients := make(map[string]*traffic)
	for kind, change := range kinds {
		tr := &traffic{cancel: cancel}
		clients[kind] = tr
		for _, node := range loadBalancers {
			client := tlsClient(node, trusted)
			change(client.Transport.(*http.Transport))
			t.Cleanup(client.CloseIdleConnections)
			tr.done.Go(func() { tr.run(ctx, client, "https://"+host+"/ping", host) })
		}
	}
	return func() {
		t.Helper()
		for kind, tr := range clients {
			t.Log(kind)
			tr.stop(t)
		}
	}
}

// aBadPairHurtsNobodyElse gives an app a key that is not its certificate's.
func aBadPairHurtsNobodyElse(t *testing.T, shop proof) {
	t.Helper()
	bad, other := prove(t, "bad.local"), prove(t, "bad.local")
	createSecret(t, "bad.cert", bad.chain)
	createSecret(t, "bad.key", other.key)
	createProvenApp(t, "bad", "bad.cert", "bad.key")
	waitForLog(t, "problem", "bad-certificate", "service=bad", "bad.cert")
	waitForAnswer(t, "bad.local", "bad", loadBalancers...) // over plain HTTP
	waitForProof(t, shopHost, "shop", shop, loadBalancers...)
	said, err := site.Logs(t.Context(), "interlock")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said) {
		if strings.Contains(line, "service=shop") && strings.Contains(line, "certificate") {
			t.Errorf("the core has something to say about the shop: %s", line)
		}
	}
	docker(t, "service", "rm", "bad")
	waitForLog(t, "problem solved", "bad-certificate", "service=bad")
}

// keyLine is a line that nobody else's key has.
func (p proof) keyLine() string { return strings.Split(p.key, "\n")[1] }

func noKeyIsTold(t *testing.T, proofs ...proof) {
	t.Helper()
	for _, service := range []string{"interlock", "interlock-ext", "interlock-proxy"} {
		said, err := site.Logs(t.Context(), service)
		if err != nil || said == "" {
			t.Errorf("%s has said nothing: %v", service, err)
		}
		for _, p := range proofs {
			if strings.Contains(said, p.keyLine()) {
				t.Errorf("%s logs a key", service)
			}
		}
	}
}

// noKeyIsOnADisk looks for keys in all that the load balancers' engines keep.
func noKeyIsOnADisk(t *testing.T, proofs ...proof) {
	t.Helper()
	for _, node := range loadBalancers {
		root, err := cluster.Node(node).Docker(t.Context(), "info", "-f", "{{.DockerRootDir}}")
		if err != nil {
			t.Fatal(err)
		}
		// What proxies do keep shows that this looks in the right place.
		if found := filesWith(t, root, `server_name "`+shopHost+`"`); len(found) == 0 {
			t.Errorf("%s: not even nginx.conf is found below %s", node, root)
		}
		for _, p := range proofs {
			if found := filesWith(t, root, p.keyLine()); len(found) > 0 {
				t.Errorf("%s: a key is in %q", node, found)
			}
		}
	}
}

// filesWith lists the files below root that hold the text. Those that go away
// meanwhile do not.
func filesWith(t *testing.T, root, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if strings.Contains(string(content), text) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// proxiesStartWithTheirKeysAlone ends core and extension, and then the proxies.
func proxiesStartWithTheirKeysAlone(t *testing.T, shop proof) {
	t.Helper()
	docker(t, "service", "scale", "--detach", "interlock=0", "interlock-ext=0")
	eventually(t, "neither core nor extension runs", func(ctx context.Context) error {
		for _, n := range cluster.Nodes() {
			for _, name := range []string{"interlock", "interlock-ext"} {
				if out, err := n.Docker(ctx, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+name); err != nil || out != "" {
					return fmt.Errorf("%s: %s %w", n.Name(), out, err)
				}
			}
		}
		return nil
	})
	before := proxyTasks(t)
	for _, node := range loadBalancers {
		container, err := cluster.Node(node).Docker(t.Context(), "ps", "-q", "--filter", "name=interlock-proxy")
		if err == nil {
			_, err = cluster.Node(node).Docker(t.Context(), "kill", container)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "proxies have been started anew", func(context.Context) error {
		if proxyTasks(t) == before {
			return errors.New("the tasks are the same")
		}
		return nil
	})
	waitForProxies(t, loadBalancers...)
	waitForProof(t, shopHost, "shop", shop, loadBalancers...)
}
