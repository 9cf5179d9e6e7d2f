// Package logformat is what a line of an access log consists of, in the language
// of nginx's log_format: text, and variables of a closed set.
//
// It is pure: it writes no line, and knows no request.
package logformat

import (
	"fmt"
	"slices"
	"strings"
)

// Format is what a line consists of, in its order. Without pieces nothing is
// logged.
type Format struct {
	Escape Escape
	Pieces []Piece
}

// Escape is how values are written, so that none can end its place or its line.
type Escape uint8

// The ways to escape. Default writes \xHH, and "-" for what is not there; JSON
// what may stand in a string of JSON; None what came, for readers who do not
// take lines as they are.
const (
	Default Escape = iota
	JSON
	None
)

// Piece is a text or a variable.
type Piece struct {
	Text     string // where Variable is Literal
	Variable Variable
	// Field is the name of the header field that RequestField stands for, in
	// small letters.
	Field string
}

// Variable is a fact of a request.
type Variable uint8

// The variables, with nginx's names and meanings.
const (
	Literal Variable = iota
	Args
	BodyBytesSent
	BytesSent
	Connection
	ConnectionRequests
	Host
	Hostname
	ISOTime
	LocalTime
	Method
	Msec
	Pid
	Pipe
	Protocol
	RemoteAddr
	RemotePort
	RemoteUser
	Request
	RequestField // $http_NAME
	RequestID
	RequestLength
	RequestTime
	RequestURI
	Scheme
	ServerName
	Service
	SSLCipher
	SSLName
	SSLProtocol
	Status
	UpstreamAddr
	UpstreamConnectTime
	UpstreamHeaderTime
	UpstreamResponseTime
	URI
)

// variables are all there are, but for $http_NAME.
var variables = map[string]Variable{
	"args": Args, "body_bytes_sent": BodyBytesSent, "bytes_sent": BytesSent, "connection": Connection,
	"connection_requests": ConnectionRequests, "host": Host, "hostname": Hostname, "interlock_host": ServerName,
	"interlock_service": Service, "msec": Msec, "pid": Pid, "pipe": Pipe, "query_string": Args, "remote_addr": RemoteAddr,
	"remote_port": RemotePort, "remote_user": RemoteUser, "request": Request, "request_id": RequestID,
	"request_length": RequestLength, "request_method": Method, "request_time": RequestTime, "request_uri": RequestURI,
	"scheme": Scheme, "server_protocol": Protocol, "ssl_cipher": SSLCipher, "ssl_protocol": SSLProtocol,
	"ssl_server_name": SSLName, "status": Status, "time_iso8601": ISOTime, "time_local": LocalTime,
	"upstream_addr": UpstreamAddr, "upstream_connect_time": UpstreamConnectTime,
	"upstream_header_time": UpstreamHeaderTime, "upstream_response_time": UpstreamResponseTime, "uri": URI,
}

const fieldPrefix = "http_"

// Names are all variables, sorted.
func Names() []string {
	names := make([]string, 0, len(variables)+1)
	for name := range variables {
		names = append(names, name)
	}
	names = append(names, fieldPrefix+"NAME")
	slices.Sort(names)
	return names
}

// Parse reads the parameters of a log_format behind its name: perhaps how to
// escape, and texts that belong together. The error says which variable is not
// known.
func Parse(words []string) (*Format, error) {
	f := &Format{}
	if len(words) > 0 {
		if way, given := strings.CutPrefix(words[0], "escape="); given {
			ways := map[string]Escape{"default": Default, "json": JSON, "none": None}
			escape, known := ways[way]
			if !known {
				return nil, fmt.Errorf("escape=%.80s is not one of default, json and none", way)
			}
			f.Escape, words = escape, words[1:]
		}
	}
	for text := strings.Join(words, ""); text != ""; {
		var err error
		if text, err = f.next(text); err != nil {
			return nil, err
		}
	}
	if len(f.Pieces) == 0 {
		return nil, fmt.Errorf("the format is empty")
	}
	return f, nil
}

// next takes a piece from the text, and returns the rest.
func (f *Format) next(text string) (string, error) {
	if text[0] != '$' {
		end := strings.IndexByte(text, '$')
		if end < 0 {
			end = len(text)
		}
		f.Pieces = append(f.Pieces, Piece{Text: text[:end]})
		return text[end:], nil
	}
	name, rest, err := cutName(text[1:])
	if err != nil {
		return "", err
	}
	p := Piece{Variable: variables[name]}
	if field, is := strings.CutPrefix(name, fieldPrefix); is && field != "" {
		p = Piece{Variable: RequestField, Field: strings.ReplaceAll(field, "_", "-")}
	}
	if p.Variable == Literal {
		return "", fmt.Errorf("the variable $%.80s is not known here; there are %s", name, strings.Join(Names(), ", "))
	}
	f.Pieces = append(f.Pieces, p)
	return rest, nil
}

// cutName reads the name of a variable, in braces or not.
func cutName(text string) (name, rest string, err error) {
	braced := strings.HasPrefix(text, "{")
	text = strings.TrimPrefix(text, "{")
	end := strings.IndexFunc(text, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	if end < 0 {
		end = len(text)
	}
	name, rest = text[:end], text[end:]
	if braced {
		var closed bool
		if rest, closed = strings.CutPrefix(rest, "}"); !closed {
			return "", "", fmt.Errorf("the brace of the variable ${%.80s is not closed", name)
		}
	}
	if name == "" {
		return "", "", fmt.Errorf("a $ stands without the name of a variable")
	}
	return strings.ToLower(name), rest, nil
}
