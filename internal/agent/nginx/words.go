package nginx

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	maxLine  = 4 << 10 // bytes of a line that are kept
	maxLines = 200     // lines that are kept
)

// words are the lines that nginx wrote to standard error, the last of them.
type words struct {
	mu      sync.Mutex
	lines   []string
	dropped int
}

// hear collects and logs lines until the reader ends.
func (w *words) hear(from io.Reader, log *slog.Logger) {
	reader := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if text := strings.TrimSpace(string(line)); text != "" {
			w.add(text)
			log.Info("nginx wrote to standard error", "line", text)
		}
		// A line that does not fit is heard in pieces.
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (w *words) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
	if excess := len(w.lines) - maxLines; excess > 0 {
		w.lines = slices.Delete(w.lines, 0, excess)
		w.dropped += excess
	}
}

// mark is a point in time to be used with since.
func (w *words) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped + len(w.lines)
}

// since returns the lines after a mark, as far as they are kept.
func (w *words) since(mark int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines[min(max(mark-w.dropped, 0), len(w.lines)):])
}

// logPrefix is what nginx puts before its words: time, level and process, or
// its name while it has no log yet.
var logPrefix = regexp.MustCompile(`^(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )\[emerg\] (?:\d+#\d+: )?`)

// emergencies returns the words for which nginx gives up, each once.
func emergencies(lines []string) []string {
	var found []string
	for _, line := range lines {
		if prefix := logPrefix.FindString(line); prefix != "" {
			if text := line[len(prefix):]; !slices.Contains(found, text) {
				found = append(found, text)
			}
		}
	}
	return found
}

// gaveUp says whether a reload has failed for good. A port that is in use is
// tried again for a while; nginx says so once more when it gives up.
func gaveUp(lines []string) bool {
	return slices.ContainsFunc(emergencies(lines), func(text string) bool {
		return !strings.Contains(text, "(98: Address already in use)")
	})
}

// reason puts nginx's words together for people. Files below root are named as
// they will be in place; exit says something where nginx said nothing.
func reason(lines []string, root string, exit error) string {
	found := emergencies(lines)
	if len(found) == 0 {
		found = lines
	}
	text := strings.Join(found, "; ")
	if root != "" {
		text = strings.ReplaceAll(text, root, "")
	}
	switch {
	case text != "":
		return text
	case exit != nil:
		return exit.Error()
	default:
		return "it did not say why"
	}
}
