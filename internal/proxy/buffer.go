package proxy

import "sync"

// Buffers come in two sizes: most heads fit into a small one, and content that
// is streamed goes through large ones, for fewer system calls.
const (
	smallBuffer = 8 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func takeSmall() []byte { return smallBuffers.Get().(*[smallBuffer]byte)[:] }

func takeLarge() []byte { return largeBuffers.Get().(*[largeBuffer]byte)[:] }

// giveBack returns a buffer from one of the two above; nil and what grew to
// another size is left to the garbage collector.
func giveBack(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}
