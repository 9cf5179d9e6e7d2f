package bench

import (
	"testing"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// repeated is how many times each step is taken for one figure.
const repeated = 20

// BenchmarkLargeTable measures what one task's change in a large Swarm costs on
// the way from the core to a proxy: CPU for each step, and bytes.
func BenchmarkLargeTable(b *testing.B) {
	s := simulate()
	var memory route.Memory
	clusters := []route.Cluster{{}}
	built, _ := memory.Build(s.snap, clusters)
	before, version := built[0].Table, built[0].Version
	built, _ = memory.Build(s.stop(4711), clusters)
	after := built[0].Table
	parameters := render.Parameters{Port: 80, ConfigPath: "/etc/nginx/nginx.conf"}

	var whole, change []byte
	var table, bundle proto.Message
	var next *route.Table
	var files, another render.Bundle
	// Each change is undone by the next one.
	renderer, text, served := native.Memory{}, nginx.Memory{}, newNativeProxy()
	turn := 0
	steps := []struct {
		name string
		do   func() error
	}{
		{"core-table", func() (err error) { whole, err = proto.Marshal(wire.TableMessage(after)); return err }},
		{"core-change", func() (err error) {
			change, err = proto.Marshal(wire.ChangeMessage(before, version, after))
			return err
		}},
		{"extension-table", func() error {
			message := new(interlockv1.Table)
			if err := proto.Unmarshal(whole, message); err != nil {
				return err
			}
			_, err := wire.Table(message)
			table = message
			return err
		}},
		{"extension-change", func() (err error) {
			message := new(interlockv1.TableChange)
			if err := proto.Unmarshal(change, message); err != nil {
				return err
			}
			next, err = wire.Change(before, message)
			return err
		}},
		{"render-nginx", func() (err error) { _, err = (&nginx.Renderer{}).Render(next, parameters, nil); return err }},
		{"render-nginx-change", func() (err error) {
			turn++
			_, err = text.Render([]*route.Table{before, next}[turn%2], parameters, nil)
			return err
		}},
		{"render-native", func() (err error) { files, err = (&native.Renderer{}).Render(next, parameters, nil); return err }},
		{"render-native-change", func() (err error) {
			another, turn = files, turn+1
			files, err = renderer.Render([]*route.Table{before, next}[turn%2], parameters, nil)
			return err
		}},
		{"proxy-native-change", func() error {
			files, another = another, files
			return served.take(&files)
		}},
		{"bundle", func() error {
			message := wire.BundleMessage(&files)
			bundle = message
			_, err := wire.Bundle(message)
			return err
		}},
	}
	for b.Loop() {
		// What is remembered is there already when something changes.
		_, err := renderer.Render(before, parameters, nil)
		check(b, err)
		_, err = text.Render(before, parameters, nil)
		check(b, err)
		for _, step := range steps {
			began := cpuTime()
			for range repeated {
				check(b, step.do())
			}
			b.ReportMetric(milliseconds(cpuTime()-began)/repeated, "cpu-ms-"+step.name)
		}
	}
	noTimePerOperation(b)
	b.ReportMetric(float64(proto.Size(table)), "B-table")
	b.ReportMetric(float64(len(change)), "B-change")
	b.ReportMetric(float64(proto.Size(bundle)), "B-bundle")
}

// nativeProxy is what a native proxy does with the files of a bundle.
type nativeProxy struct {
	reader native.Reader
	server *proxy.Server
}

func newNativeProxy() *nativeProxy {
	return &nativeProxy{server: proxy.New(proxy.Options{Limits: proxy.DefaultLimits()})}
}

// take reads the files twice, as they are checked and as they are in place.
func (p *nativeProxy) take(b *render.Bundle) error {
	contents := make(map[string][]byte, len(b.Files))
	for i := range b.Files {
		contents[b.Files[i].Path] = b.Files[i].Data()
	}
	read := func() (*native.Configuration, error) {
		return p.reader.Read(native.File, func(path string) ([]byte, error) { return contents[path], nil })
	}
	c, err := read()
	if err != nil {
		return err
	}
	if err := p.server.Try(c.Table, nil, proxy.Options{Limits: proxy.DefaultLimits()}); err != nil {
		return err
	}
	if c, err = read(); err != nil {
		return err
	}
	return p.server.Swap(c.Table, nil)
}
