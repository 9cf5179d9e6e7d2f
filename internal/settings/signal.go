package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// signals are Linux's, each at its number: the containers are Linux ones,
// whatever machine checks the file.
var signals = []string{
	1: "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
	"SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",
	"SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
}

// checkSignal takes SIGQUIT, quit and 3, and returns "SIGQUIT".
func checkSignal(s string) (string, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n >= len(signals) {
			return "", fmt.Errorf("is no signal's number; write a name such as SIGQUIT, or a number from 1 to %d", len(signals)-1)
		}
		return signals[n], nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if slices.Contains(signals[1:], name) {
		return name, nil
	}
	if near := nearest(name, signals[1:]); near != "" {
		return "", fmt.Errorf("is no signal; did you mean %s?", near)
	}
	return "", errors.New("is no signal; write a name such as SIGQUIT or SIGTERM")
}
