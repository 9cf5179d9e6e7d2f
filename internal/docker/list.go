package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/moby/moby/client"
)

const (
	// maxList bounds what is read of one list. The largest Swarms stay well
	// below it; elements are decoded one by one, so it is never held at once.
	maxList  = 1 << 30
	maxWords = 16 << 10 // of an error's text
)

// fault is an object that a reading could not understand, wholly or in part.
type fault struct {
	kind, id, why string
	kept          bool // it is as in the reading before, rather than left out
}

func (f *fault) consequence() string {
	if f.kept {
		return "it stays as it was read last"
	}
	return "it is left out"
}

// list reads a list of the Docker API and gives each element to add. Elements
// are decoded one by one: one that cannot be decoded becomes a fault, where
// the typed client would fail the whole list. A list that ends early is an
// error.
func list[W any](ctx context.Context, c *Client, kind, path string, filters client.Filters, add func(*W)) ([]fault, error) {
	body, err := c.get(ctx, path, filters)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	decoder := json.NewDecoder(http.MaxBytesReader(nil, body, maxList))
	opening, err := decoder.Token()
	if err != nil {
		return nil, inList(err)
	}
	if opening == nil { // the engine's empty list
		return nil, nil
	}
	if opening != json.Delim('[') {
		return nil, fmt.Errorf("the answer is no list but begins with %v", opening)
	}
	var faults []fault
	var raw json.RawMessage
	for decoder.More() {
		raw = raw[:0]
		if err := decoder.Decode(&raw); err != nil {
			return nil, inList(err)
		}
		var element W
		if err := json.Unmarshal(raw, &element); err != nil {
			faults = append(faults, fault{kind: kind, id: idOf(raw), why: err.Error()})
			continue
		}
		add(&element)
	}
	_, err = decoder.Token()
	return faults, inList(err)
}

func inList(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the answer ended early")
	}
	return err
}

// idOf returns the ID of an object that is not understood otherwise.
func idOf(raw json.RawMessage) string {
	var object struct{ ID string }
	if json.Unmarshal(raw, &object) != nil || object.ID == "" {
		return "without an ID"
	}
	return object.ID
}

// get returns the body of a successful answer.
func (c *Client) get(ctx context.Context, path string, filters client.Filters) (io.ReadCloser, error) {
	version, err := c.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if len(filters) > 0 {
		encoded, err := json.Marshal(filters)
		if err != nil {
			return nil, err
		}
		query.Set("filters", string(encoded))
	}
	address := c.base + "/v" + version + path + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		var inURL *url.Error
		if errors.As(err, &inURL) { // whose text repeats the whole address
			err = inURL.Err
		}
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, errors.New(wordsOf(response))
	}
	return response.Body, nil
}

// wordsOf returns what an engine says in an answer that is no success.
func wordsOf(response *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxWords)) // as much of it as came will do
	var answer struct{ Message string }
	if json.Unmarshal(body, &answer) == nil && answer.Message != "" {
		return inPlainWords(answer.Message)
	}
	words := inPlainWords(string(body))
	return strings.TrimSpace(response.Status + " " + words)
}
