// Capable writes a program into a tar as the file that may use CAP_NET_ADMIN, where
// the container has it, whoever runs it. It needs no root for that: the capability
// is written as setcap(8) would write it, and takes effect when the tar is unpacked.
//
//	capable PROGRAM FILE.tar
package main

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: capable PROGRAM FILE.tar")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "capable:", err)
		os.Exit(1)
	}
}

func run(program, name string) error {
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.Create(name)
	if err != nil {
		return err
	}
	defer to.Close()
	w := tar.NewWriter(to)
	// No times and owners: the same program gives the same bytes, which the engine
	// finds in its cache.
	if err := w.WriteHeader(&tar.Header{
		Name: filepath.Base(program), Size: info.Size(), Mode: 0o755, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(permitted())},
	}); err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return to.Close()
}

// permitted is struct vfs_cap_data of linux/capability.h, revision 2. The program
// starts without the capability in effect and has to ask for it: else it would not
// start at all where the container has none.
func permitted() []byte {
	const (
		revision = 0x02000000
		netAdmin = 1 << 12
	)
	var data []byte
	for _, word := range []uint32{revision, netAdmin, 0, 0, 0} { // permitted, inheritable; 32 of each a time
		data = binary.LittleEndian.AppendUint32(data, word)
	}
	return data
}
