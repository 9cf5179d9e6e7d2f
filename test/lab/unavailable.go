package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// searchPath is where the lab looks for programs: an ordinary user's PATH, even
// root's after su, may lack the sbin folders.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// needed names Debian's package for each program that the lab runs.
var needed = map[string]string{
	"docker": "docker.io", "dockerd": "docker.io",
	"docker-registry":  "docker-registry",
	"ip":               "iproute2",
	"iptables-restore": "iptables",
	"nsenter":          "util-linux", "mount": "mount",
}

// Bits of the capability masks in /proc/self/status.
const (
	capNetAdmin = 12
	capSysAdmin = 21
)

// bridgeFilter makes a bridge show its packets to iptables; partitions need it.
const bridgeFilter = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// Unavailable says in one line why no lab can run here, or returns nil. It may
// load the kernel's module br_netfilter.
func Unavailable() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("no lab here: it needs Linux, and this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("no lab here: it needs root, and this is user %d", os.Geteuid())
	}
	if err := missingPrograms(searchPath); err != nil {
		return err
	}
	return missingRights()
}

func missingPrograms(path string) error {
	var programs, packages []string
	for program, pkg := range needed {
		if _, err := findIn(path, program); err != nil {
			programs = append(programs, program)
			packages = append(packages, pkg)
		}
	}
	if len(programs) == 0 {
		return nil
	}
	slices.Sort(programs)
	slices.Sort(packages)
	return fmt.Errorf("no lab here: %s not found; apt-get install %s",
		strings.Join(programs, ", "), strings.Join(slices.Compact(packages), " "))
}

func missingRights() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("no lab here: cannot tell this process's capabilities: %w", err)
	}
	_, after, _ := strings.Cut(string(status), "CapEff:")
	mask, _, _ := strings.Cut(after, "\n")
	rights, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	if err != nil {
		return fmt.Errorf("no lab here: cannot tell this process's capabilities: %w", err)
	}
	if rights&(1<<capNetAdmin) == 0 || rights&(1<<capSysAdmin) == 0 {
		return errors.New("no lab here: root lacks CAP_SYS_ADMIN or CAP_NET_ADMIN, as in a container that is not privileged")
	}
	if _, err := os.Stat(bridgeFilter); errors.Is(err, fs.ErrNotExist) {
		if err := runIn(context.Background(), nil, "", "modprobe", "br_netfilter"); err != nil {
			return fmt.Errorf("no lab here: the kernel's br_netfilter cannot be loaded: %w", err)
		}
	}
	return nil
}

// find is where the program is on this machine.
func find(program string) (string, error) { return findIn(searchPath, program) }

// findIn is exec.LookPath for another path than this process's own.
func findIn(path, program string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is in none of %s", program, path)
}
