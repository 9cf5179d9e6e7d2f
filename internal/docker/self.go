package docker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// SelfContainerID returns the ID of the container that this process runs in:
// all 64 digits where the system shows them, else the 12 that Docker names a
// container's host by. Outside of a container it is an error.
func SelfContainerID() (string, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for our own container: %w", err)
	}
	defer mounts.Close()
	id, err := containerInMounts(mounts)
	if err != nil {
		return "", fmt.Errorf("looking for our own container: %w", err)
	}
	if id != "" {
		return id, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("looking for our own container: %w", err)
	}
	if shortID.MatchString(host) {
		return host, nil
	}
	return "", errors.New("this process does not run in a Docker container, or cannot tell which: " +
		"neither its mounts nor its host name " + host + " name one")
}

var (
	shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)
	// ownFile is where the engine keeps the files that it gives each container.
	ownFile = regexp.MustCompile(`/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)$`)
)

// containerInMounts finds the container that a mountinfo file belongs to, by
// the files of its own that the engine mounts over those in /etc. It returns
// nothing if there is none. A container may have the mounts of others too, if
// it mounts the engine's whole folder, but not over its own /etc.
func containerInMounts(mountinfo io.Reader) (string, error) {
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		const root, mountPoint = 3, 4 // proc_pid_mountinfo(5)
		if len(fields) <= mountPoint {
			continue
		}
		switch fields[mountPoint] {
		case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf":
			if match := ownFile.FindStringSubmatch(fields[root]); match != nil {
				return match[1], nil
			}
		}
	}
	return "", lines.Err()
}
