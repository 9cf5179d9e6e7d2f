package native

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// Configuration is what the files say. It shares with the one before what did not
// change, and must not be changed.
type Configuration struct {
	Table   *route.Table
	Options Options
	// Keys are the files with a host's certificate and key, by the host's name.
	Keys  map[string]string
	Token string
	// Parts are the paths of the files that it was read from besides the main one,
	// in the order of their numbers.
	Parts []string
}

// Reader reads one configuration after the other, and of each only the parts that
// the one before had not. The zero Reader has read nothing. It is not for
// concurrent use.
type Reader struct {
	last  *Configuration
	parts map[render.Hash]*readPart // of last
	rest  *interlockv1.TableRest    // of last
}

// readPart is a part that has been read.
type readPart struct {
	wire.Part
	keys map[string]string // by host
}

// Read reads what Render has written for file. Open returns the content of a file
// that stands there.
func (r *Reader) Read(file string, open func(path string) ([]byte, error)) (*Configuration, error) {
	data, err := open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	sum := sha256.Sum256(data)
	token := hex.EncodeToString(sum[:16])
	if r.last != nil && r.last.Token == token {
		return r.last, nil
	}
	message := &interlockv1.NativeConfiguration{}
	if err := proto.Unmarshal(data, message); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	parameters, err := wire.Parameters(message.GetParameters())
	if err != nil {
		return nil, fmt.Errorf("reading the parameters: %w", err)
	}
	c := &Configuration{Token: token}
	if c.Options, err = ParseOptions(parameters); err != nil {
		return nil, err
	}
	if message.GetParts() == nil {
		return r.whole(c, message)
	}
	for _, hash := range message.GetParts().GetHashes() {
		if len(hash) != len(render.Hash{}) {
			return nil, fmt.Errorf("the hash of a part has %d bytes in place of %d", len(hash), len(render.Hash{}))
		}
		c.Parts = append(c.Parts, partPath(file, render.Hash(hash)))
	}
	return r.divided(c, message.GetParts(), func(h render.Hash) ([]byte, error) { return open(partPath(file, h)) })
}

// whole reads a table that is in no parts.
func (r *Reader) whole(c *Configuration, message *interlockv1.NativeConfiguration) (_ *Configuration, err error) {
	if c.Table, err = wire.Table(message.GetTable()); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	if c.Keys, err = readKeys(message.GetCertificates()); err != nil {
		return nil, err
	}
	*r = Reader{last: c}
	return c, nil
}

// divided puts a table together from its parts.
func (r *Reader) divided(c *Configuration, message *interlockv1.NativeParts, open func(render.Hash) ([]byte, error)) (*Configuration, error) {
	parts := make(map[render.Hash]*readPart, len(message.GetHashes()))
	var come, gone []*readPart
	for _, text := range message.GetHashes() {
		hash := render.Hash(text)
		if parts[hash] != nil {
			return nil, fmt.Errorf("the part %x is named twice", hash[:16])
		}
		p := r.parts[hash]
		if p == nil {
			var err error
			if p, err = read(hash, open); err != nil {
				return nil, fmt.Errorf("the part %x of the table: %w", hash[:16], err)
			}
			come = append(come, p)
		}
		parts[hash] = p
	}
	for hash, p := range r.parts {
		if parts[hash] == nil {
			gone = append(gone, p)
		}
	}
	before, keys := &route.Table{}, map[string]string{}
	if r.parts != nil {
		before, keys = r.last.Table, r.last.Keys
	}
	rest := message.GetRest()
	if rest == nil {
		rest = &interlockv1.TableRest{}
	}
	changed := rest
	if proto.Equal(rest, r.rest) {
		changed = nil
	}
	var err error
	if c.Table, err = wire.Exchange(before, contents(gone), contents(come), changed); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	c.Keys = exchangeKeys(keys, gone, come)
	*r = Reader{last: c, parts: parts, rest: rest}
	return c, nil
}

// read reads the part with a hash.
func read(hash render.Hash, open func(render.Hash) ([]byte, error)) (*readPart, error) {
	data, err := open(hash)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != hash {
		return nil, errors.New("its content is another than the table names")
	}
	message := &interlockv1.NativePart{}
	if err := proto.Unmarshal(data, message); err != nil {
		return nil, err
	}
	p, err := wire.ReadPart(message)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(message.GetCertificates())
	return &readPart{*p, keys}, err
}

func contents(parts []*readPart) []*wire.Part {
	list := make([]*wire.Part, len(parts))
	for i, p := range parts {
		list[i] = &p.Part
	}
	return list
}

// exchangeKeys are the keys after some parts have given way to others.
func exchangeKeys(before map[string]string, gone, come []*readPart) map[string]string {
	old, next := make(map[string]string), make(map[string]string)
	for _, p := range gone {
		maps.Copy(old, p.keys)
	}
	for _, p := range come {
		maps.Copy(next, p.keys)
	}
	if maps.Equal(old, next) {
		return before
	}
	keys := maps.Clone(before)
	for host := range old {
		delete(keys, host)
	}
	maps.Copy(keys, next)
	return keys
}

func readKeys(messages []*interlockv1.CertificateFile) (map[string]string, error) {
	keys := make(map[string]string, len(messages))
	for _, m := range messages {
		if !path.IsAbs(m.GetPath()) || path.Clean(m.GetPath()) != m.GetPath() || strings.ContainsRune(m.GetPath(), 0) {
			return nil, fmt.Errorf("host %.80q: the path of its key must be absolute and without detours", m.GetHost())
		}
		keys[m.GetHost()] = m.GetPath()
	}
	return keys, nil
}
