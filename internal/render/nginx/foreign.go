package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// unknownToken stands in a file for its token until all else is written.
const unknownToken = "interlock-bundle-token"

// Foreign is a configuration file that this package did not write.
type Foreign struct {
	Text string
	// StatusSocket and TempDir are as in Renderer.
	StatusSocket string
	TempDir      string
	// Agentless is as in render.Parameters: nobody asks for a token, and the
	// folders of a stock image are its own.
	Agentless bool
}

// StatusServer is the server block with which nginx answers a bundle's token.
// A file that holds it is left as it is by Complete, but for its last line. It
// is empty where there is no agent to ask.
func (f *Foreign) StatusServer() string {
	if f.Agentless {
		return ""
	}
	w := file{statusSocket: withDefault(f.StatusSocket, StatusSocket)}
	w.statusServer(unknownToken)
	return inOneLine(&w.out)
}

// Complete adds what the agent needs of every file, and returns the file and
// its token: the server that answers the token, emergencies on standard error,
// and, unless the file names others, folders that nginx may write to, an end of
// old workers and Debian's module for stream; nothing for a proxy without an
// agent. All is added to lines that are
// there, or behind the last, so that nginx counts lines as the file does.
func (f *Foreign) Complete(o *Options) (text []byte, token string, err error) {
	completed := f.Text
	if f.Agentless {
		return []byte(completed), hash(completed), nil
	}
	if !strings.Contains(f.Text, unknownToken) {
		if completed, err = f.extended(o); err != nil {
			return nil, "", err
		}
	}
	completed += "\nerror_log stderr emerg;\n"
	token = hash(completed)
	return []byte(strings.ReplaceAll(completed, unknownToken, token)), token, nil
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// streamModule loads the module where it is a file of its own, as in Debian.
// Elsewhere nginx finds nothing by this pattern, which is no error.
const streamModule = "include /usr/share/nginx/modules-available/mod-stream*.conf; "

func (f *Foreign) extended(o *Options) (string, error) {
	outline, err := outlineOf(f.Text)
	if err != nil {
		return "", err
	}
	var begin string
	if outline.has["stream"] && !strings.Contains(f.Text, "load_module") && !strings.Contains(f.Text, "modules-enabled") {
		begin = streamModule
	}
	http := writer{taken: outline.inHTTP}
	http.tempPaths(withDefault(f.TempDir, TempDir))
	inside := inOneLine(&http) + f.StatusServer()
	main := writer{taken: outline.has}
	main.setting("worker_shutdown_timeout", duration(o.shutdownTimeout()))
	end := "\n" + strings.TrimSuffix(main.buf.String(), "\n")
	if outline.httpEnd < 0 {
		return begin + f.Text + "\nhttp { " + inside + "}" + end, nil
	}
	return begin + f.Text[:outline.httpEnd] + inside + f.Text[outline.httpEnd:] + end, nil
}

func inOneLine(w *writer) string {
	return strings.Join(strings.Fields(w.buf.String()), " ") + " "
}

// outline says what is at the top of a file and of its http block.
type outline struct {
	httpEnd     int // where the brace is that closes http; -1: there is no http
	has, inHTTP map[string]bool
}

// outlineOf reads a file by nginx's rules for words and blocks.
func outlineOf(text string) (outline, error) {
	found := outline{httpEnd: -1, has: make(map[string]bool), inHTTP: make(map[string]bool)}
	r := operatorReader{text: text}
	var depth int
	var inHTTP bool
	for {
		s, complete := r.statement()
		if !complete {
			if depth > 0 || len(s.words) > 0 {
				return outline{}, errors.New("a block or a directive is not closed at the end")
			}
			return found, nil
		}
		found.note(&s, depth, &inHTTP)
		depth += s.deeper()
		if depth < 0 {
			return outline{}, fmt.Errorf("line %d closes a block that none has opened", 1+strings.Count(text[:r.at-1], "\n"))
		}
		if s.end == '}' && depth == 0 && inHTTP {
			found.httpEnd = r.at - 1
		}
	}
}

// note takes down a directive by its depth. inHTTP is whether the block at the
// top that was opened last is http.
func (o *outline) note(s *statement, depth int, inHTTP *bool) {
	switch {
	case len(s.words) == 0:
	case depth == 0:
		o.has[s.words[0]] = true
		*inHTTP = s.words[0] == "http" && s.end == '{'
	case depth == 1 && *inHTTP:
		o.inHTTP[s.words[0]] = true
	}
}
