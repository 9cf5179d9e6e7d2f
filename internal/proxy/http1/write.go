package http1

import "strconv"

// AppendField appends a field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendContent appends the field that frames content; what ends with the
// connection, or is not there, has none.
func AppendContent(dst []byte, c Content) []byte {
	switch c.Framing {
	case Counted:
		return AppendLength(dst, c.Length)
	case Chunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return dst
}

// AppendLength appends a Content-Length.
func AppendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// ChunkOverhead is the most that AppendChunk adds to content, in bytes.
const ChunkOverhead = 16 + 2*len("\r\n")

// AppendChunk appends a chunk of content, which must not be empty: the empty
// chunk is the last.
func AppendChunk(dst, content []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(len(content)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, content...)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of chunked content. Trailers that say how a
// message is read or routed come too late to be true, and are left out (RFC
// 9110, section 6.5.1).
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if trailers[i].Known == Other {
			dst = AppendField(dst, trailers[i].Name, trailers[i].Value)
		}
	}
	return append(dst, "\r\n"...)
}
