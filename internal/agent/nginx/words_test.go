package nginx

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestARefusalNamesWhatIsWrongAndNotWhereItWasChecked(t *testing.T) {
	lines := []string{
		`nginx: [warn] the "user" directive makes sense only if the master process runs with super-user privileges, ignored in /state/staging/etc/nginx/nginx.conf:2`,
		`2026/01/02 03:04:05 [emerg] 7#7: unknown directive "x" in /state/staging/etc/nginx/nginx.conf:12`,
		`nginx: configuration file /state/staging/etc/nginx/nginx.conf test failed`,
	}
	if got, want := reason(lines, "/state/staging", nil), `unknown directive "x" in /etc/nginx/nginx.conf:12`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestANginxWithoutWordsIsExplainedByItsExit(t *testing.T) {
	if got := reason(nil, "", errors.New("exit status 1")); got != "exit status 1" {
		t.Errorf("got %q", got)
	}
}

func TestAPortInUseIsFinalOnlyWhenNginxSaysSo(t *testing.T) {
	trying := "2026/01/02 03:04:05 [emerg] 7#7: bind() to 0.0.0.0:80 failed (98: Address already in use)"
	if gaveUp([]string{trying, trying}) {
		t.Error("gave up while nginx still tries")
	}
	lines := []string{trying, trying, "2026/01/02 03:04:07 [emerg] 7#7: still could not bind()"}
	if !gaveUp(lines) {
		t.Error("did not see that nginx gave up")
	}
	if got, want := reason(lines, "", nil), "bind() to 0.0.0.0:80 failed (98: Address already in use); still could not bind()"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOnlyTheLastLinesAreKeptAndMarksStayTrue(t *testing.T) {
	var w words
	w.add("before")
	mark := w.mark()
	for i := range 3 * maxLines {
		w.add(fmt.Sprint(i))
	}
	got := w.since(mark)
	if len(got) != maxLines || got[maxLines-1] != fmt.Sprint(3*maxLines-1) {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	if got := w.since(w.mark()); len(got) != 0 {
		t.Errorf("since now: %q", got)
	}
}

func TestALongLineIsHeardInPieces(t *testing.T) {
	var w words
	w.hear(strings.NewReader(strings.Repeat("x", 3*maxLine)+"\nshort\n\nlast"), slog.New(slog.DiscardHandler))
	if got := w.since(0); !slices.Equal(got[len(got)-2:], []string{"short", "last"}) || len(got) > 6 {
		t.Errorf("%d lines", len(got))
	}
}

func TestGarbageOnTheStatusSocketIsAnError(t *testing.T) {
	for name, garbage := range map[string]string{
		"not HTTP": "\x00\x01garbage\r\n", "nothing": "", "endless header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if token, err := newStatusClient(socketThatSays(t, garbage)).token(t.Context()); err == nil {
				t.Errorf("understood as the token %q", token)
			}
		})
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	socket := socketThatSays(t, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 1<<20))
	token, err := newStatusClient(socket).token(t.Context())
	if err != nil || len(token) != maxAnswer {
		t.Errorf("%d bytes, %v", len(token), err)
	}
}

// socketThatSays answers the first connection and hangs up.
func socketThatSays(t *testing.T, words string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "status")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-gone
	})
	go func() {
		defer close(gone)
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		// A client takes an answer that comes before its question as a fault.
		if _, err := http.ReadRequest(bufio.NewReader(connection)); err != nil {
			t.Error(err)
		}
		fmt.Fprint(connection, words)
	}()
	return listener.Addr().String()
}
