package settings

import (
	"path"
	"strings"
)

// ownImage is what the last part of the name of an image with Interlock's agent
// in it contains.
const ownImage = "interlock"

// Hitless reports whether an agent in the proxy's container takes new
// configuration. Where the operator does not say, the image's name decides: it
// alone is known alike wherever a core runs, with or without a registry at hand.
func (e *Extension) Hitless() bool {
	if e.HitlessServiceUpdate != nil {
		return *e.HitlessServiceUpdate
	}
	image, _, _ := strings.Cut(e.ProxyImage, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return strings.Contains(name, ownImage)
}
