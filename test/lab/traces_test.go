package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// traces are all the things on this machine that belong to the lab of that ID,
// whose addresses have that prefix.
func traces(t *testing.T, id, prefix string) []string {
	t.Helper()
	var found []string
	dir := filepath.Join(root, id)
	if _, err := os.Stat(dir); err == nil {
		found = append(found, "folder "+dir)
	}
	if linkExists(hostLinkOf(id)) {
		found = append(found, "link "+hostLinkOf(id))
	}
	found = append(found, filesWith("cmdline", dir)...)
	found = append(found, filesWith("environ", dir)...)
	found = append(found, filesWith("mountinfo", dir)...)
	found = append(found, filesWith("cgroup", cgroupOf(id))...)
	mounts, err := cgroupMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if _, err := os.Stat(filepath.Join(m, cgroupOf(id))); err == nil {
			found = append(found, "control group "+filepath.Join(m, cgroupOf(id)))
		}
	}
	rules, err := run(t.Context(), nil, "", "iptables-save")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(rules, hostLinkOf(id)) || strings.Contains(rules, prefix) {
		found = append(found, "iptables rules")
	}
	return found
}

// filesWith are the files of that name in /proc, one a process, that hold text.
func filesWith(name, text string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*/" + name)
	for _, path := range all {
		// Processes end while one looks at them.
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), text) {
			found = append(found, path)
		}
	}
	return found
}

// prefixOf is what all addresses of the lab begin with.
func prefixOf(l *Lab) string { return strings.TrimSuffix(l.HostAddress(), "1") }

func expectNoTraces(t *testing.T, id, prefix string) {
	t.Helper()
	err := Eventually(t.Context(), 5*time.Second, func(context.Context) error {
		if found := traces(t, id, prefix); len(found) > 0 {
			return errors.New(strings.Join(found, ", "))
		}
		return nil
	})
	if err != nil {
		t.Errorf("lab %s is down and left: %v", id, err)
	}
}

// networksOf are the network namespaces of the lab's machines, as links to them
// read in /proc.
func networksOf(t *testing.T, l *Lab) []string {
	t.Helper()
	var all []string
	for _, n := range l.Nodes() {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", n.PID()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, link)
	}
	return all
}

// inUse says whether any process is in that network namespace.
func inUse(network string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range all {
		if link, err := os.Readlink(path); err == nil && link == network {
			return true
		}
	}
	return false
}
