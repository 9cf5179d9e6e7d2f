package agent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// OSProcess is a process as the kernel lists it.
type OSProcess struct {
	PID, Parent, Group int
	Zombie             bool   // dead, and not waited for yet
	Asleep             bool   // waits for something, and for no disk
	Started            uint64 // in clock ticks since the machine was
}

// OSProcesses lists all processes that the caller can see. Those that end
// meanwhile are left out.
func OSProcesses() ([]OSProcess, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var list []OSProcess
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := OSProcessOf(pid); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// OSProcessOf is one process as the kernel lists it.
func OSProcessOf(pid int) (OSProcess, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return OSProcess{}, err
	}
	return parseStat(stat)
}

// startField is where the start time stands in stat, counted from STATE.
const startField = 19

// parseStat reads the first fields of proc(5)'s stat: "PID (NAME) STATE PARENT
// GROUP ...", where NAME may hold blanks and parentheses.
func parseStat(stat []byte) (OSProcess, error) {
	var p OSProcess
	var state string
	end := bytes.LastIndexByte(stat, ')')
	begin := bytes.IndexByte(stat, '(')
	if begin < 0 || end < begin {
		return p, fmt.Errorf("no name in %.80q", stat)
	}
	if _, err := fmt.Sscanf(string(stat[:begin]), "%d", &p.PID); err != nil {
		return p, err
	}
	if _, err := fmt.Sscanf(string(stat[end+1:]), "%s %d %d", &state, &p.Parent, &p.Group); err != nil {
		return p, err
	}
	p.Zombie, p.Asleep = state == "Z", state == "S"
	if rest := bytes.Fields(stat[end+1:]); len(rest) > startField {
		p.Started, _ = strconv.ParseUint(string(rest[startField]), 10, 64)
	}
	return p, nil
}
