package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
)

// BundleMessage is a bundle as it travels. It shares the files' bytes with the
// bundle; neither may be changed afterwards.
func BundleMessage(b *render.Bundle) *interlockv1.Bundle {
	message := &interlockv1.Bundle{
		Files: make([]*interlockv1.File, 0, len(b.Files)), Token: b.Token, Version: b.Version(),
	}
	for i := range b.Files {
		message.Files = append(message.Files, fileMessage(&b.Files[i]))
	}
	return message
}

func fileMessage(f *render.File) *interlockv1.File {
	return &interlockv1.File{Path: f.Path, Mode: uint32(f.Mode), Data: f.Data(), Sensitive: f.Sensitive}
}

// Bundle reads a bundle. It fails, saying what is wrong with which file, unless
// the bundle keeps all that render.Bundle promises and, where the message names
// a version, is the one that was meant. It shares the files' bytes with the message.
func Bundle(message *interlockv1.Bundle) (render.Bundle, error) {
	if len(message.GetFiles()) == 0 {
		return render.Bundle{}, errors.New("there is no bundle in the message, or it has no files")
	}
	files, err := readFiles(message.GetFiles())
	if err != nil {
		return render.Bundle{}, err
	}
	b := render.Bundle{Files: files, Token: message.GetToken()}
	if said := message.GetVersion(); said != "" && said != b.Version() && said != b.FormerVersion() {
		return render.Bundle{}, fmt.Errorf("the files have version %s, but the message says %s", b.Version(), said)
	}
	return b, nil
}

func readFiles(messages []*interlockv1.File) ([]render.File, error) {
	files := make([]render.File, 0, len(messages))
	for _, m := range messages {
		file, err := readFile(m)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", m.GetPath(), err)
		}
		files = append(files, file)
	}
	return files, ascending("file", files, func(f render.File) string { return f.Path })
}

func readFile(message *interlockv1.File) (render.File, error) {
	name, mode := message.GetPath(), fs.FileMode(message.GetMode())
	switch {
	case !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsRune(name, 0):
		return render.File{}, errors.New("the path must be absolute and without detours")
	case mode&^fs.ModePerm != 0:
		return render.File{}, fmt.Errorf("mode %#o is more than permissions", message.GetMode())
	case message.GetSensitive() && mode&0o077 != 0:
		return render.File{}, fmt.Errorf("mode %#o would let others read a key", message.GetMode())
	}
	return render.File{Path: name, Mode: mode, Content: render.NewContent(message.GetData()), Sensitive: message.GetSensitive()}, nil
}
