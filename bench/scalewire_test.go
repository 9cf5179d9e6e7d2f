package bench

import (
	"testing"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// repeated is how many times each step is taken for one figure.
const repeated = 5

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
	var files render.Bundle
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
		{"render-native", func() (err error) { files, err = (&native.Renderer{}).Render(next, parameters, nil); return err }},
		{"bundle", func() error {
			message := wire.BundleMessage(&files)
			bundle = message
			_, err := wire.Bundle(message)
			return err
		}},
	}
	for b.Loop() {
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
