package proxies

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The proxy that is measured has a core of its own; clients and apps share one.
const (
	proxyCore  = "0"
	clientCore = "1"
)

// patience bounds every wait for a program.
const patience = 30 * time.Second

// process is a program that serves, with its children.
type process struct {
	name  string
	addr  string // of a port, without a scheme
	url   string
	pids  []int
	hosts int // see job
}

func (p *process) secure() bool { return strings.HasPrefix(p.url, "https:") }

// onCore pins a program to one core; those of Go see that they have only one.
func onCore(core, program string, args ...string) *exec.Cmd {
	return exec.Command("taskset", append([]string{"-c", core, program}, args...)...)
}

// start runs a program until the benchmark ends, and waits until it serves.
func start(b *testing.B, name string, command *exec.Cmd, addr string, secure bool) *process {
	p := &process{name: name, addr: addr, url: "http://" + addr}
	if secure {
		_, port, err := net.SplitHostPort(addr)
		check(b, err)
		p.url = "https://" + hostName + ":" + port
	}
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	check(b, command.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // its state says how it ended
	}()
	b.Cleanup(func() { p.stop(b, command, ended) })
	p.awaitAnswer(b, command, ended)
	p.pids = family(b, command.Process.Pid)
	return p
}

func (p *process) stop(b *testing.B, command *exec.Cmd, ended <-chan struct{}) {
	_ = command.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patience):
		b.Errorf("%s does not end", p.name)
		_ = command.Process.Kill()
		<-ended
	}
}

func (p *process) awaitAnswer(b *testing.B, command *exec.Cmd, ended <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: time.Second}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		response, err := client.Get(p.url + "/")
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if err == nil && response.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-ended:
			b.Fatalf("%s has ended: %v", p.name, command.ProcessState)
		default:
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not serve: %v", p.name, err)
		}
	}
}

// family is a process and its children.
func family(b *testing.B, pid int) []int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	check(b, err)
	pids := []int{pid}
	for _, child := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(child)
		check(b, err)
		pids = append(pids, n)
	}
	return pids
}

// cpu is what the process has used so far, for itself and in the kernel.
func (p *process) cpu(b *testing.B) time.Duration {
	const tick = 10 * time.Millisecond
	var total time.Duration
	for _, pid := range p.pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		check(b, err)
		// Behind the name, which may have blanks; fields 14 and 15 of proc(5).
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(f)
			check(b, err)
			total += time.Duration(ticks) * tick
		}
	}
	return total
}

// memory is the process's share of what it has in memory, in kB.
func (p *process) memory(b *testing.B) (kB int) {
	for _, pid := range p.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		check(b, err)
		for line := range strings.Lines(string(text)) {
			if value, is := strings.CutPrefix(line, "Pss:"); is {
				n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
				check(b, err)
				kB += n
			}
		}
	}
	return kB
}

func freePorts(b *testing.B, n int) (addrs []string) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(b, err)
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}
