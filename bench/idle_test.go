package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// restFirst lets pass what the core does at a faster pace after a change.
	restFirst = 35 * time.Second
	idleFor   = 60 * time.Second
	// tick is the unit in which the kernel counts a process's time.
	tick = 10 * time.Millisecond
)

// BenchmarkIdleCore measures what the core costs while nothing changes.
func BenchmarkIdleCore(b *testing.B) {
	needInterlock(b)
	id, node := coreContainer(b)
	core, err := processOf(id)
	check(b, err)
	for b.Loop() {
		time.Sleep(restFirst)
		before, err := core.cpu()
		check(b, err)
		began := time.Now()
		time.Sleep(idleFor)
		after, err := core.cpu()
		check(b, err)
		noTimePerOperation(b)
		b.ReportMetric(100*float64(after-before)/float64(time.Since(began)), "%-of-a-core")
		for name, key := range map[string]string{"rss-MB": "VmRSS", "rss-peak-MB": "VmHWM"} {
			kilobytes, err := core.memory(key)
			check(b, err)
			b.ReportMetric(float64(kilobytes)*1024/1e6, name)
		}
		stats, err := site.Lab.Node(node).Docker(b.Context(), "stats", "--no-stream", "--format", "{{.MemUsage}}", id)
		check(b, err)
		b.Logf("docker stats: %s", stats)
	}
}

// coreContainer says in which container the core runs, and on which node.
func coreContainer(b *testing.B) (id, node string) {
	b.Helper()
	line := strings.Fields(docker(b, "service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format", "{{.ID}} {{.Node}}", "interlock"))
	return docker(b, "inspect", "-f", "{{.Status.ContainerStatus.ContainerID}}", line[0]), line[1]
}

// process is a folder of /proc.
type process string

// processOf finds a container's only process. Its number here is another one
// than inside of its node, so it is known by its control group.
func processOf(container string) (process, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return "", err
	}
	var found []process
	for _, path := range groups {
		// One that has ended since is not the one.
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), container) {
			found = append(found, process(filepath.Dir(path)))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d processes are in container %s, want 1", len(found), container)
	}
	return found[0], nil
}

// cpu is the time that the process has spent in itself and in the kernel.
func (p process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(string(p) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name before the last parenthesis may hold blanks.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const utime, stime = 11, 12 // fields 14 and 15 of proc(5), the name being the second
	if len(fields) <= stime {
		return 0, errors.New(string(p) + "/stat is too short")
	}
	user, err := strconv.Atoi(fields[utime])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[stime])
	return time.Duration(user+system) * tick, err
}

// memory is a line of /proc/PID/status, in kB.
func (p process) memory(key string) (int, error) {
	text, err := os.ReadFile(string(p) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	return 0, fmt.Errorf("%s/status says nothing of %s", p, key)
}
