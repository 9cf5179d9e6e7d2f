package render_test

import (
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
)

func bundle() render.Bundle {
	return render.Bundle{Token: "t", Files: []render.File{
		{Path: "/a", Mode: 0o644, Content: render.NewContent([]byte("one"))},
		{Path: "/b", Mode: 0o600, Content: render.NewContent(nil), Sensitive: true},
	}}
}

func TestAVersionIsOfAllThatABundleHas(t *testing.T) {
	first := bundle()
	same := bundle()
	same.Files[1].Content = render.Content{} // no bytes, however they came about
	if first.Version() != same.Version() || first.FormerVersion() != same.FormerVersion() {
		t.Error("equal bundles have two versions")
	}
	for what, change := range map[string]func(*render.Bundle){
		"another content": func(b *render.Bundle) { b.Files[0].Content = render.NewContent([]byte("two")) },
		"no content":      func(b *render.Bundle) { b.Files[0].Content = render.Content{} },
		"another path":    func(b *render.Bundle) { b.Files[0].Path = "/aa" },
		"another mode":    func(b *render.Bundle) { b.Files[0].Mode = 0o640 },
		"no longer a key": func(b *render.Bundle) { b.Files[1].Sensitive = false },
		"a file fewer":    func(b *render.Bundle) { b.Files = b.Files[:1] },
		"another token":   func(b *render.Bundle) { b.Token = "u" },
		"contents swapped": func(b *render.Bundle) {
			b.Files[0].Content, b.Files[1].Content = b.Files[1].Content, b.Files[0].Content
		},
		"a file of its own": func(b *render.Bundle) { b.Files = append(b.Files, render.File{Path: "/c"}) },
	} {
		other := bundle()
		change(&other)
		if other.Version() == first.Version() || other.FormerVersion() == first.FormerVersion() {
			t.Errorf("%s: the version is the same", what)
		}
	}
}

// Processes of both kinds are at work while Interlock is updated.
func TestTheFormerVersionIsWhatItWas(t *testing.T) {
	b := bundle()
	if got, want := b.FormerVersion(), "e43b18262a24f205fe03945f1af85667"; got != want {
		t.Errorf("the former version is %s, and was %s", got, want)
	}
}

func TestAContentIsItsBytes(t *testing.T) {
	one, again, two := render.NewContent([]byte("one")), render.NewContent([]byte("one")), render.NewContent([]byte("two"))
	none, empty := render.Content{}, render.NewContent([]byte{})
	if !one.Equal(again) || one.Hash() != again.Hash() || !none.Equal(empty) || none.Hash() != empty.Hash() {
		t.Error("the same bytes are two contents")
	}
	if one.Equal(two) || one.Hash() == two.Hash() || one.Equal(none) || one.Hash() == none.Hash() {
		t.Error("other bytes are the same content")
	}
}
