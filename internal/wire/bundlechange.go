package wire

import (
	"errors"
	"fmt"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
)

// BundleChangeMessage is what makes of one bundle another one. Both come with
// their versions. It is nil where so much differs that the bundle itself is the
// better message. It shares the files' bytes with the bundle.
func BundleChangeMessage(before *render.Bundle, base string, after *render.Bundle, version string) *interlockv1.BundleChange {
	changed, gone := render.Differences(before, after)
	if 2*(sizeOf(changed)+len(gone)*pathSize) > sizeOf(after.Files) {
		return nil
	}
	message := &interlockv1.BundleChange{Base: base, Token: after.Token, Version: version}
	for i := range changed {
		message.Files = append(message.Files, fileMessage(&changed[i]))
	}
	for i := range gone {
		message.Gone = append(message.Gone, gone[i].Path)
	}
	return message
}

// pathSize is about what the path of a file takes in a message, in bytes.
const pathSize = 60

// sizeOf is about what files take in a message.
func sizeOf(files []render.File) (size int) {
	for i := range files {
		size += files[i].Size() + pathSize
	}
	return size
}

// ChangedBundle makes the bundle that a message describes of the one that its base
// names. It fails, saying what is wrong with which file, unless the bundle keeps
// all that render.Bundle promises and is the one that was meant. Before stays as it
// is, and what did not change is shared.
func ChangedBundle(before *render.Bundle, message *interlockv1.BundleChange) (render.Bundle, error) {
	if before == nil {
		return render.Bundle{}, errors.New("what changes is not known")
	}
	changed, err := readFiles(message.GetFiles())
	if err != nil {
		return render.Bundle{}, err
	}
	if err := ascending("path", message.GetGone(), identity); err != nil {
		return render.Bundle{}, err
	}
	files, err := merged("file", before.Files, changed, message.GetGone(), filePath)
	if err != nil {
		return render.Bundle{}, err
	}
	if len(files) == 0 {
		return render.Bundle{}, errors.New("no file is left of the bundle")
	}
	b := render.Bundle{Files: files, Token: message.GetToken()}
	if size := b.Size(); size > MaxMessage {
		// Nobody who does not have the one before could be given it.
		return render.Bundle{}, fmt.Errorf("what the change makes has %d bytes, and a bundle may have at most %d", size, MaxMessage)
	}
	if version := b.Version(); version != message.GetVersion() {
		return render.Bundle{}, fmt.Errorf("what the change makes has version %s, but the message says %q", version, message.GetVersion())
	}
	return b, nil
}

func filePath(f *render.File) string { return f.Path }
