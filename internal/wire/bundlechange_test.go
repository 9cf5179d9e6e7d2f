package wire_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/wire"
)

// randomBundle has some of the files of the one before, some of them other than
// they were, and some new ones.
func randomBundle(random *rand.Rand, before render.Bundle) render.Bundle {
	b := render.Bundle{Token: fmt.Sprint(random.IntN(3))}
	known := make(map[string]bool)
	for _, f := range before.Files {
		known[f.Path] = true
		switch random.IntN(20) {
		case 0: // it goes
		case 1:
			f.Content = render.NewContent(fmt.Append(nil, random.Uint64()))
			b.Files = append(b.Files, f)
		case 2:
			f.Mode ^= 0o040
			b.Files = append(b.Files, f)
		default:
			b.Files = append(b.Files, f)
		}
	}
	for range 1 + random.IntN(4) {
		f := render.File{Path: fmt.Sprintf("/part-%03d", random.IntN(1000)), Mode: 0o644, Content: render.NewContent(bytes.Repeat([]byte("x"), random.IntN(50)))}
		if !known[f.Path] {
			known[f.Path] = true
			b.Files = append(b.Files, f)
		}
	}
	b.Sort()
	return b
}

func TestABundleArrivesByItsChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	before := randomBundle(random, render.Bundle{})
	for len(before.Files) < 60 {
		before = randomBundle(random, before)
	}
	changes := 0
	for step := range 300 {
		after := randomBundle(random, before)
		message := wire.BundleChangeMessage(&before, before.Version(), &after, after.Version())
		if message != nil {
			changes++
			got, err := wire.ChangedBundle(&before, overTheWire(t, message, &interlockv1.BundleChange{}))
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			sameBytes(t, &after, &got)
		}
		before = after
	}
	if changes < 200 {
		t.Errorf("only %d of 300 bundles travelled as changes", changes)
	}
}

func TestNoBundleGrowsByChangesBeyondWhatOneMessageHolds(t *testing.T) {
	third := render.NewContent(make([]byte, wire.MaxMessage/3+1))
	before := render.Bundle{Files: []render.File{{Path: "/a", Mode: 0o644, Content: third}, {Path: "/b", Mode: 0o644, Content: third}}}
	after := render.Bundle{Files: append(slices.Clone(before.Files), render.File{Path: "/c", Mode: 0o644, Content: third})}
	message := wire.BundleChangeMessage(&before, before.Version(), &after, after.Version())
	if message == nil {
		t.Fatal("there is no change")
	}
	if _, err := wire.ChangedBundle(&before, message); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
}

// sameBytes compares what two bundles are as whole messages.
func sameBytes(t *testing.T, want, got *render.Bundle) {
	t.Helper()
	var encoded [2][]byte
	for i, b := range []*render.Bundle{want, got} {
		var err error
		if encoded[i], err = (proto.MarshalOptions{Deterministic: true}).Marshal(wire.BundleMessage(b)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(encoded[0], encoded[1]) || want.Version() != got.Version() {
		t.Fatal("what arrived is not what was sent")
	}
}

// large is a bundle of which one file is little.
func large() render.Bundle {
	var b render.Bundle
	for i := range 20 {
		b.Files = append(b.Files, render.File{Path: fmt.Sprintf("/%02d", i), Mode: 0o644, Content: render.NewContent(fmt.Append(nil, i))})
	}
	return b
}

func TestAChangeIsAsSmallAsWhatChanged(t *testing.T) {
	before, after := large(), large()
	after.Files[3].Content = render.NewContent([]byte("other"))
	after.Files = slices.Delete(after.Files, 5, 6)
	message := wire.BundleChangeMessage(&before, "base", &after, after.Version())
	if message == nil || len(message.GetFiles()) != 1 || message.GetFiles()[0].GetPath() != "/03" || !slices.Equal(message.GetGone(), []string{"/05"}) {
		t.Errorf("got change %v", message)
	}
}

func TestABundleOfWhichMostHasChangedTravelsWhole(t *testing.T) {
	before, after := large(), large()
	for i := range 12 {
		after.Files[i].Content = render.NewContent([]byte("other"))
	}
	if message := wire.BundleChangeMessage(&before, "base", &after, after.Version()); message != nil {
		t.Errorf("got change %v", message)
	}
}

func TestABundleChangeThatBreaksAPromiseIsRefused(t *testing.T) {
	before, after := large(), large()
	after.Files[3].Content, after.Files[4].Content = render.NewContent([]byte("a")), render.NewContent([]byte("b"))
	after.Files = slices.Delete(after.Files, 6, 8)
	for name, test := range map[string]struct {
		spoil func(*interlockv1.BundleChange)
		want  string
	}{
		"files out of order":      {func(m *interlockv1.BundleChange) { slices.Reverse(m.Files) }, "must be sorted"},
		"a file twice":            {func(m *interlockv1.BundleChange) { m.Files[1] = m.Files[0] }, "twice"},
		"a way out":               {func(m *interlockv1.BundleChange) { m.Files[0].Path = "/../03" }, "detours"},
		"a setuid file":           {func(m *interlockv1.BundleChange) { m.Files[0].Mode = uint32(fs.ModeSetuid) }, "more than permissions"},
		"a key for all":           {func(m *interlockv1.BundleChange) { m.Files[0].Sensitive = true }, "let others read a key"},
		"gone out of order":       {func(m *interlockv1.BundleChange) { slices.Reverse(m.Gone) }, "must be sorted"},
		"gone that was not there": {func(m *interlockv1.BundleChange) { m.Gone[1] = "/77" }, "was not there"},
		"no version":              {func(m *interlockv1.BundleChange) { m.Version = "" }, "the message says"},
		"another content":         {func(m *interlockv1.BundleChange) { m.Files[0].Data = []byte("x") }, "the message says"},
		"another token":           {func(m *interlockv1.BundleChange) { m.Token = "x" }, "the message says"},
		"one that stays":          {func(m *interlockv1.BundleChange) { m.Gone = m.Gone[:1] }, "the message says"},
		"nothing that stays": {func(m *interlockv1.BundleChange) {
			m.Files, m.Gone = nil, nil
			for _, f := range before.Files {
				m.Gone = append(m.Gone, f.Path)
			}
		}, "no file is left"},
	} {
		t.Run(name, func(t *testing.T) {
			message := wire.BundleChangeMessage(&before, "base", &after, after.Version())
			test.spoil(message)
			_, err := wire.ChangedBundle(&before, message)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
	message := wire.BundleChangeMessage(&before, "base", &after, after.Version())
	if _, err := wire.ChangedBundle(nil, message); err == nil {
		t.Error("a change of nothing is taken")
	}
}

func FuzzBundleChange(f *testing.F) {
	before, after := large(), large()
	after.Files[3].Content = render.NewContent([]byte("other"))
	after.Files = after.Files[:6]
	seed, err := proto.Marshal(wire.BundleChangeMessage(&before, "base", &after, after.Version()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		message := &interlockv1.BundleChange{}
		if proto.Unmarshal(data, message) != nil {
			return
		}
		changed, err := wire.ChangedBundle(&before, message)
		if err != nil {
			return
		}
		if whole, err := wire.Bundle(wire.BundleMessage(&changed)); err != nil || whole.Version() != message.GetVersion() {
			t.Errorf("a change makes a bundle that is refused as a whole: %v", err)
		}
	})
}
