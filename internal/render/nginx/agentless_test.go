package nginx

import (
	"bytes"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestAStockImagesSocketsStandInAFolderThatItHas(t *testing.T) {
	table := &route.Table{
		Passthrough: []route.Passthrough{{Name: "through.local", Forward: route.Forward{Upstreams: []string{"through"}}}},
		Upstreams:   []route.Upstream{{Name: "through"}},
	}
	p := render.Parameters{Port: 80, SSLPort: 443, ConfigPath: "/etc/nginx/nginx.conf", Agentless: true, MountedCredentials: true}
	b, err := (&Renderer{ServerInfo: testServerInfo}).Render(table, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := b.Files[0].Data()
	if !bytes.Contains(conf, []byte("unix:/var/run/passthrough.sock")) || bytes.Contains(conf, []byte("/run/interlock")) {
		t.Errorf("the sockets stand elsewhere:\n%s", conf)
	}
}

func TestAStockImageGetsPartsWhereOneDockerConfigCannotHoldTheFile(t *testing.T) {
	p := parameters(map[string]any{"User": "www-data"})
	p.Agentless = true
	bundle := func(table *route.Table) render.Bundle {
		t.Helper()
		b, err := new(Renderer).Render(table, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if small := bundle(tableOf(1000, 2)); len(small.Files) != 1 {
		t.Errorf("a configuration of %d bytes is in %d files", small.Size(), len(small.Files))
	}
	large := tableOf(4000, 2)
	before := bundle(large)
	if before.Size() <= render.MaxConfig {
		t.Fatalf("%d bytes are not too many for a config", before.Size())
	}
	large.Upstreams[5].Endpoints = large.Upstreams[5].Endpoints[:1]
	after := bundle(large)
	if len(before.Files) != len(after.Files) || len(after.Files) > maxConfigs {
		t.Fatalf("%d files, and then %d", len(before.Files), len(after.Files))
	}
	changed := 0
	for i := range after.Files {
		if after.Files[i].Path != before.Files[i].Path || after.Files[i].Size() > render.MaxConfig {
			t.Errorf("%s became %s, of %d bytes", before.Files[i].Path, after.Files[i].Path, after.Files[i].Size())
		}
		if !after.Files[i].Equal(before.Files[i].Content) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("one endpoint changes %d configs", changed)
	}
	conf, parts := taken(after)
	allAcceptedByNginx(t, conf, parts)
}
