package docker

import (
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnAddressThatCannotBeUsedIsRefused(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"another scheme":         {Options{URL: "ssh://host"}, "it must read unix:///path/to/docker.sock, tcp://host:port"},
		"a path alone":           {Options{URL: "/var/run/docker.sock"}, "it must read"},
		"no port":                {Options{URL: "tcp://host"}, "it must read"},
		"TLS files for http":     {Options{URL: "http://host:1", CACert: notPEM}, "write https://host:1"},
		"a certificate, no key":  {Options{URL: "tcp://host:1", Cert: notPEM}, "both the certificate and its key"},
		"a CA that is no CA":     {Options{URL: "tcp://host:1", CACert: notPEM}, "holds no certificate in PEM form"},
		"a CA that is not there": {Options{URL: "tcp://host:1", CACert: notPEM + "x"}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Dial(t.Context(), c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// urls are the lists that internal/settings is tested with: what it takes must
// work here, so that a checked file is one that the core can run with.
func urls(t *testing.T, list string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "settings", "testdata", "dockerurl", list))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

func TestTheURLsOfAValidFileAreTaken(t *testing.T) {
	for _, url := range urls(t, "taken") {
		c, err := Dial(t.Context(), Options{URL: url, AllowInsecure: true})
		if err != nil {
			t.Error(err)
			continue
		}
		c.Close()
	}
}

func TestTheURLsOfAFaultyFileAreRefused(t *testing.T) {
	for _, url := range urls(t, "refused") {
		if c, err := Dial(t.Context(), Options{URL: url}); err == nil {
			c.Close()
			t.Errorf("%s is taken", url)
		}
	}
}

func TestTLSFilesAreOfNoConcernToASocket(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	c, err := Dial(t.Context(), Options{URL: "unix:///run/docker.sock", CACert: none, Cert: none, Key: none, AllowInsecure: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestTheSchemeAndTheFilesDecideOnTLS(t *testing.T) {
	engine := answers{}.of("1.41")
	plain, secure := httptest.NewServer(engine), httptest.NewUnstartedServer(engine)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	plainAt, secureAt := plain.Listener.Addr().String(), secure.Listener.Addr().String()
	for name, c := range map[string]struct {
		opts  Options
		fails string // empty: the engine is read
	}{
		"tcp":                              {Options{URL: "tcp://" + plainAt}, ""},
		"tcp with a CA":                    {Options{URL: "tcp://" + secureAt, CACert: ca}, ""},
		"tcp that is not verified":         {Options{URL: "tcp://" + secureAt, AllowInsecure: true}, ""},
		"http":                             {Options{URL: "http://" + plainAt + "/"}, ""},
		"http, where nothing is verified":  {Options{URL: "http://" + plainAt, AllowInsecure: true}, ""},
		"https with a CA":                  {Options{URL: "https://" + secureAt + "/", CACert: ca}, ""},
		"https that is not verified":       {Options{URL: "https://" + secureAt, AllowInsecure: true}, ""},
		"https with the system's CAs only": {Options{URL: "https://" + secureAt}, "is not trusted"},
		"https where nobody speaks TLS":    {Options{URL: "https://" + plainAt, AllowInsecure: true}, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := Dial(t.Context(), c.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_, err = client.Snapshot(t.Context())
			switch {
			case c.fails == "" && err != nil:
				t.Error(err)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("got %v, want %q", err, c.fails)
			}
		})
	}
}
