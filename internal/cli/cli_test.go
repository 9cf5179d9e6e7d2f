package cli_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/interlock-lb/interlock/internal/cli"
)

// The scripts run this binary as the interlock command. The command
// interlock-until WORD ARGS... is told to stop as soon as it says WORD.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"interlock": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
		},
		"interlock-until": func() {
			ctx, stop := context.WithCancel(context.Background())
			stderr := &listener{word: os.Args[1], heard: stop, out: os.Stderr}
			os.Exit(cli.Main(ctx, os.Args[2:], os.Environ(), os.Stdin, os.Stdout, stderr))
		},
	})
}

// listener passes on what is written, until it hears a word and after.
type listener struct {
	word  string
	heard func()
	out   io.Writer
}

func (l *listener) Write(data []byte) (int, error) {
	if strings.Contains(string(data), l.word) {
		l.heard()
	}
	return l.out.Write(data)
}

func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true})
}
