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
