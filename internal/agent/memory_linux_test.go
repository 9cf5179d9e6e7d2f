package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
)

func TestWhetherAFolderIsInMemoryIsAskedOfTheKernel(t *testing.T) {
	fixture.NeedRoot(t, "mounting a tmpfs")
	b := newBench(t, &proxy{})
	b.options.InMemory = nil
	mount := b.path("memory")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	// As the core has Docker mount it: root's, and for everybody to make a folder in.
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=1777"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	bundle := func(folder string) render.Bundle {
		return render.Bundle{Token: folder, Files: []render.File{{Path: filepath.Join(folder, "key"), Mode: 0o400, Content: render.NewContent([]byte("key")), Sensitive: true}}}
	}
	b.options.SensitiveDir = filepath.Join(mount, "tls")
	b.start()
	b.served(bundle(b.options.SensitiveDir))
	b.holds("memory/tls/key", "key")
	b.stop()

	var stat unix.Statfs_t
	if err := unix.Statfs(b.dir, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Type == unix.TMPFS_MAGIC {
		t.Skip("the folder for temporary files is in memory itself, so there is no disk to refuse")
	}
	b = newBench(t, &proxy{})
	b.options.InMemory = nil
	b.start()
	b.refused(bundle(b.options.SensitiveDir))
	b.stop()
}
