package docker

import (
	"strings"
	"testing"
)

const self = "6879b7c10cea13198576929a6eb28ad87fecc30d1c4b710eefee47183c847ebc"

func TestOurOwnContainerIsFoundInItsMounts(t *testing.T) {
	const other = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	for name, c := range map[string]struct{ mounts, want string }{
		"in the engine's usual folder": {
			`600 500 0:50 / / rw,relatime - overlay overlay rw
610 600 254:1 /var/lib/docker/containers/` + self + `/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda1 rw
611 600 254:1 /var/lib/docker/containers/` + self + `/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw`, self,
		},
		"in a file system of the engine's own": {
			`611 600 254:1 /containers/` + self + `/hosts /etc/hosts rw,relatime - ext4 /dev/vdb1 rw`, self,
		},
		"not in another container's mounts": {
			`609 600 254:1 /var/lib/docker/containers/` + other + `/hostname /inspected/hostname rw - ext4 /dev/vda1 rw
611 600 254:1 /var/lib/docker/containers/` + self + `/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw`, self,
		},
		"not on a plain machine": {
			`22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
23 22 254:1 /containers/short/hostname /etc/hostname rw - ext4 /dev/vda1 rw`, "",
		},
		"not in a broken file": {"611 600\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := containerInMounts(strings.NewReader(c.mounts))
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}
