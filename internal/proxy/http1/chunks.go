package http1

import "bytes"

const (
	// maxChunkLine bounds the line before a chunk with its extensions, which
	// nobody uses and which are dropped.
	maxChunkLine = 256
	// maxTrailers bounds the trailer section in bytes.
	maxTrailers = 8 << 10
	// maxOverhead bounds what the lines before chunks may take above what a
	// sensible sender writes: else a body of nothing but extensions is read for ever.
	maxOverhead = 16 << 10
)

var (
	errChunkSize = bad("the size of a chunk is malformed")
	errChunkLine = bad("the line before a chunk is too long")
	errChunkEnd  = bad("a chunk is longer than its size")
	errOverhead  = bad("the chunks have more framing than content")
	errTrailers  = bad("the trailer section is too long")
)

// Chunks decodes chunked content (RFC 9112, section 7.1). Its zero value is at
// the beginning.
type Chunks struct {
	state    chunkState
	left     int64 // bytes of the current chunk
	overhead int64
	// Trailers are the fields behind the last chunk, slices of the buffer that
	// the end was found in. The array is used again.
	Trailers []Field
}

type chunkState uint8

const (
	atSize chunkState = iota
	inData
	afterData
	atTrailers
	atEnd
)

// Reset goes back to the beginning and keeps the array of Trailers.
func (c *Chunks) Reset() { *c = Chunks{Trailers: c.Trailers[:0]} }

// Next reads the start of b. It returns the first content there, which may be
// empty, and how many bytes are done with, the content included. When nothing
// is, it needs more bytes than b has. After done nothing else belongs to the
// content.
func (c *Chunks) Next(b []byte) (content []byte, n int, done bool, err error) {
	for {
		used := 0
		switch c.state {
		case atSize:
			used, err = c.size(b[n:])
		case inData:
			content = b[n:min(int64(len(b)), int64(n)+c.left)]
			if c.left -= int64(len(content)); c.left == 0 {
				c.state = afterData
			}
			return content, n + len(content), false, nil
		case afterData:
			used, err = c.end(b[n:])
		case atTrailers:
			used, err = c.trailers(b[n:])
		case atEnd:
			return nil, n, true, nil
		}
		if err != nil || used == 0 {
			return nil, n, false, err
		}
		n += used
	}
}

// size reads the line before a chunk.
func (c *Chunks) size(b []byte) (used int, err error) {
	end := bytes.IndexByte(b, '\n')
	switch {
	case end < 0 && len(b) > maxChunkLine, end > maxChunkLine:
		return 0, errChunkLine
	case end < 0:
		return 0, nil
	case end == 0 || b[end-1] != '\r':
		return 0, errBareLF
	}
	l := b[:end-1]
	if extension := bytes.IndexByte(l, ';'); extension >= 0 {
		if !allIn(l[extension:], inValue) {
			return 0, errChunkSize
		}
		l = l[:extension]
	}
	if c.left, err = hexadecimal(l); err != nil {
		return 0, err
	}
	// Sixteen bytes of framing for a chunk, or twice its content, are usual.
	c.overhead = max(0, c.overhead+int64(end)-16-2*min(c.left, 1<<20))
	if c.overhead > maxOverhead {
		return 0, errOverhead
	}
	if c.state = inData; c.left == 0 {
		c.state = atTrailers
	}
	return end + 1, nil
}

// hexadecimal reads up to fifteen digits: no such number overflows.
func hexadecimal(b []byte) (n int64, err error) {
	if len(b) == 0 || len(b) > 15 {
		return 0, errChunkSize
	}
	for _, digit := range b {
		value := unhex(digit)
		if value < 0 {
			return 0, errChunkSize
		}
		n = n<<4 | int64(value)
	}
	return n, nil
}

// end reads the CRLF behind a chunk.
func (c *Chunks) end(b []byte) (used int, err error) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunkEnd
	}
	if len(b) < len(crlf) {
		return 0, nil
	}
	c.state = atSize
	return len(crlf), nil
}

// trailers reads the trailer section with the empty line behind it.
func (c *Chunks) trailers(b []byte) (used int, err error) {
	if bytes.HasPrefix(b, crlf) {
		c.state = atEnd
		return len(crlf), nil
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	switch {
	case end > maxTrailers, end < 0 && len(b) > maxTrailers:
		return 0, errTrailers
	case end < 0:
		return 0, bareLF(b, 0)
	}
	if c.Trailers, err = appendFields(c.Trailers, b[:end+len(crlf)]); err != nil {
		return 0, err
	}
	c.state = atEnd
	return end + 2*len(crlf), nil
}
