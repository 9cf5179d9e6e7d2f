package agent

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

// maxFiles bounds the number of files in a bundle: certificate and key of 10,000
// hosts in a file each, and as much again.
const maxFiles = 40_000

// files puts the files of bundles where they belong, and nowhere else.
type files struct {
	folders []string // in which a bundle may place files that are not sensitive
	main    string   // the file that every bundle has; empty: there is none
	memory  memory   // where sensitive files go, and no others
	staging string   // where files that are being checked get a folder; empty: the system's
	maxSize int      // of a bundle, in bytes
}

// accept says whether a bundle may be placed at all. Those of its files that have
// not changed since one that was accepted need not be looked at.
func (f *files) accept(b *render.Bundle, changed []render.File) error {
	if size := b.Size(); size > f.maxSize {
		return fmt.Errorf("the bundle has %d bytes; at most %d are taken", size, f.maxSize)
	}
	if len(b.Files) > maxFiles {
		return fmt.Errorf("the bundle has %d files; at most %d are taken", len(b.Files), maxFiles)
	}
	for i := 1; i < len(b.Files); i++ {
		switch before, here := b.Files[i-1].Path, b.Files[i].Path; strings.Compare(before, here) {
		case 0:
			return fmt.Errorf("the bundle has the file %.200q twice", here)
		case 1:
			return fmt.Errorf("the bundle has the file %.200q after %.200q, out of order", here, before)
		}
	}
	if f.main != "" && b.File(f.main) == nil {
		return fmt.Errorf("the bundle has no file %.200q, which the proxy reads first", f.main)
	}
	for i := range changed {
		if err := f.acceptFile(b, &changed[i]); err != nil {
			return err
		}
	}
	return nil
}

// acceptFile says whether a file of a bundle may be placed beside the others.
func (f *files) acceptFile(b *render.Bundle, file *render.File) error {
	if _, _, err := f.locate(file); err != nil {
		return err
	}
	if file.Mode&^fs.ModePerm != 0 {
		return fmt.Errorf("the bundle's file %.200q has the mode %v; only permission bits are taken", file.Path, file.Mode)
	}
	if file.Sensitive && file.Mode&0o077 != 0 {
		return fmt.Errorf("the bundle's file %.200q is sensitive, but its mode %v lets others use it", file.Path, file.Mode)
	}
	both := ""
	if at, _ := b.Find(file.Path + "/"); at < len(b.Files) && strings.HasPrefix(b.Files[at].Path, file.Path+"/") {
		both = file.Path
	}
	for folder := filepath.Dir(file.Path); len(folder) > 1; folder = filepath.Dir(folder) {
		if b.File(folder) != nil {
			both = folder
		}
	}
	if both != "" {
		return fmt.Errorf("the bundle has %.200q as a file and as a folder", both)
	}
	return nil
}

// locate splits a file's path into the folder that may hold it and the rest.
func (f *files) locate(file *render.File) (folder, rest string, err error) {
	path := file.Path
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsFunc(path, isControl) {
		return "", "", fmt.Errorf("the bundle's file %.200q is not an absolute path in its shortest form", path)
	}
	rest, inMemory := below(f.memory.folder, path)
	switch {
	case inMemory && file.Sensitive:
		return f.memory.folder, rest, nil
	case inMemory:
		return "", "", fmt.Errorf("the bundle's file %.200q is not sensitive, but in the folder of those that are", path)
	case file.Sensitive:
		return "", "", fmt.Errorf("the bundle's file %.200q is sensitive, and such files belong in %s", path, f.memory.folder)
	}
	for _, folder := range f.folders {
		if rest, found := below(folder, path); found {
			return folder, rest, nil
		}
	}
	return "", "", fmt.Errorf("the bundle's file %.200q is in none of the folders that it may use: %s", path, strings.Join(f.folders, ", "))
}

// below returns a path as seen from a folder that it is in.
func below(folder, path string) (rest string, found bool) {
	if folder == "" {
		return "", false
	}
	rest, err := filepath.Rel(folder, path)
	return rest, err == nil && rest != "." && filepath.IsLocal(rest)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// stage makes the files appear below a folder of their own, which is to be removed
// with unstage: those that changed are written there, the others are linked to
// where they are in place. Sensitive files are not for it: they are placed before a
// check.
func (f *files) stage(list, changed []render.File) (root string, err error) {
	root, err = os.MkdirTemp(f.staging, "interlock-check-")
	if err != nil {
		return "", fmt.Errorf("making a folder for a check: %w", err)
	}
	if err := fill(root, list, changed); err != nil {
		unstage(root)
		return "", fmt.Errorf("staging a file: %w", err)
	}
	return root, nil
}

// fill takes both lists in the order of their paths.
func fill(folder string, list, changed []render.File) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	made := ""
	for _, file := range list {
		name := strings.TrimPrefix(file.Path, "/")
		if dir := filepath.Dir(name); dir != made {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made = dir
		}
		if len(changed) > 0 && changed[0].Path == file.Path {
			changed = changed[1:]
			err = writeNew(root, name, file.Mode, file.Data(), false)
		} else if err = os.Link(file.Path, filepath.Join(folder, name)); err != nil {
			err = root.Symlink(file.Path, name) // to another file system; takes longer
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unstage removes what stage wrote. What is left behind goes with the container.
func unstage(root string) { _ = os.RemoveAll(root) }

// place writes the files where they belong, each in one step: a reader sees
// the file from before or the new one, whole. Nothing waits for the disk: what has
// to outlive the machine's end is the store's, from which an agent that starts
// places them anew. Where the folder for sensitive files is not what it has to be,
// the error is a *Refused.
func (f *files) place(list []render.File) error {
	if slices.ContainsFunc(list, func(file render.File) bool { return file.Sensitive }) {
		if err := f.memory.prepare(); err != nil {
			return err
		}
	}
	for _, file := range list {
		folder, rest, err := f.locate(&file)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making a bundle's folder: %w", err)
		}
		if err := replaceFile(folder, rest, file.Mode, file.Data(), false); err != nil {
			return fmt.Errorf("placing a file: %w", err)
		}
	}
	return nil
}

// remove deletes files. One that stays behind harms nothing: no file names it any
// more.
func (f *files) remove(list []render.File) {
	for _, file := range list {
		if folder, rest, err := f.locate(&file); err == nil {
			removeFile(folder, rest)
		}
	}
}

// WriteFile replaces the file name below folder: written beside it, brought to
// the disk, then renamed. No symbolic link leads out of the folder. Of several
// that write the same file at once the last one wins.
func WriteFile(folder, name string, mode fs.FileMode, data []byte) error {
	return replaceFile(folder, name, mode, data, true)
}

// replaceFile is WriteFile, to the disk or only as far as other processes see it.
func replaceFile(folder, name string, mode fs.FileMode, data []byte, toDisk bool) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	dir, base := filepath.Split(name)
	dir = filepath.Clean(dir)
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Nobody else writes a file of this name, not even on a shared volume.
	temporary := filepath.Join(dir, temporaryPrefix+base+"."+rand.Text()+temporarySuffix)
	if err := writeNew(root, temporary, mode, data, toDisk); err != nil {
		_ = root.Remove(temporary)
		return err
	}
	if err := root.Rename(temporary, name); err != nil {
		_ = root.Remove(temporary)
		return err
	}
	if !toDisk {
		return nil
	}
	return syncFolder(root, dir)
}

const (
	temporaryPrefix = "."
	temporarySuffix = ".new"
)

// abandonedAfter is the age at which nobody can still be writing a file.
const abandonedAfter = time.Hour

// RemoveAbandoned removes what a WriteFile of that name left behind in a folder
// that was killed, if that is long enough ago: another one may be at work.
func RemoveAbandoned(root *os.Root, name string) {
	abandoned, err := fs.Glob(root.FS(), temporaryPrefix+name+"*"+temporarySuffix)
	if err != nil {
		return
	}
	for _, path := range abandoned {
		if info, err := root.Lstat(path); err == nil && time.Since(info.ModTime()) >= abandonedAfter {
			_ = root.Remove(path)
		}
	}
}

func writeNew(root *os.Root, name string, mode fs.FileMode, data []byte, toDisk bool) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	// The mode that was asked for, whatever the umask says.
	if err := file.Chmod(mode.Perm()); err != nil {
		return err
	}
	if toDisk {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return file.Close()
}

// syncFolder brings a renaming to the disk.
func syncFolder(root *os.Root, dir string) error {
	folder, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func removeFile(folder, name string) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return
	}
	_ = root.Remove(name)
	_ = root.Close()
}
