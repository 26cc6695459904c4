package opening

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connbench/servers/contract"
)

// Message is what matters of a request that HTTP itself answers (RFC 9112 section 6): not one
// that opens a WebSocket.
type Message struct {
	// Length is that of the content behind the request, in bytes.
	Length int
	// Last says that the connection ends with the answer.
	Last bool
	// Stream and Poll are of a GET that asks for what others publish: for all of it, as a stream of
	// events, or for the message that follows number After (see [NumberIn]).
	Stream, Poll bool
	After        uint64
}

// ReadMessage reads a whole request without its content, as End delimits it. Content of more
// than limit bytes is refused, and so is content in chunks, as RFC 9110 section 15.5.12 allows.
func ReadMessage(data []byte, limit int) (Message, Refusal) {
	line, fields := cutLine(data[leading(data):])
	r := Request{fields: fields}
	method, refusal := r.readLine(line)
	switch {
	case refusal != 0:
		return Message{}, refusal
	case string(method) != http.MethodGet && string(method) != http.MethodPost:
		return Message{}, http.StatusMethodNotAllowed
	case !r.readFields(), r.hosts != 1, !isHost(r.host), r.lengthIsWrong, r.lengths > 1:
		return Message{}, http.StatusBadRequest
	case r.coded:
		return Message{}, http.StatusLengthRequired
	}
	m := Message{Last: r.last}
	if r.lengths > 0 {
		var err error
		if m.Length, err = strconv.Atoi(string(r.length)); err != nil || m.Length > limit {
			return Message{}, http.StatusRequestEntityTooLarge
		}
	}
	if string(method) == http.MethodGet && m.Length == 0 {
		if m.Stream, m.Poll = r.events, r.waits && len(r.known) > 0; m.Poll {
			m.After = NumberIn(string(r.known))
		}
	}
	return m, 0
}

// NumberIn returns the number of a message in an entity tag such as "17" or W/"17" (RFC 9110
// section 8.8.3), and for anything else a number that no message has yet.
func NumberIn(tag string) uint64 {
	n, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// AppendAnswer appends the response to a message: its own content.
func (m Message) AppendAnswer(out, content []byte) []byte {
	return m.appendContent(appendHead(out, ok), content)
}

// AppendNumbered appends the response to a GET where messages go to all: one of them or nothing,
// with its number, or that of the newest, as an entity tag.
func (m Message) AppendNumbered(out, content []byte, number uint64) []byte {
	return m.appendContent(appendNumber(appendHead(out, ok), number), content)
}

// AppendUnchanged appends the response to a poll that does not wait: there is nothing behind the
// newest message, which has this number.
func (m Message) AppendUnchanged(out []byte, number uint64) []byte {
	return m.appendEnd(appendNumber(appendHead(out, "304 Not Modified"), number))
}

// AppendStream appends the head of a response that is a stream of events, without an end.
func AppendStream(out []byte) []byte {
	return append(appendHead(out, ok), "\r\nContent-Type: "+contract.EventStream+"\r\nTransfer-Encoding: chunked\r\n\r\n"...)
}

// AppendEvent appends an event of such a stream (WHATWG HTML section 9.2), in a chunk of its own
// (RFC 9112 section 7.1). The content has no line breaks.
func AppendEvent(out, content []byte) []byte {
	const before, behind = "data: ", "\n\n"
	out = strconv.AppendInt(out, int64(len(before)+len(content)+len(behind)), 16)
	out = append(out, "\r\n"+before...)
	return append(append(out, content...), behind+"\r\n"...)
}

const ok = "200 OK"

// appendHead appends a response's head up to its Date.
func appendHead(out []byte, status string) []byte {
	out = append(append(out, "HTTP/1.1 "...), status...)
	return appendDate(append(out, "\r\nDate: "...), time.Now())
}

// appendNumber appends the number of a message as an entity tag.
func appendNumber(out []byte, number uint64) []byte {
	return append(strconv.AppendUint(append(out, "\r\nETag: \""...), number, 10), '"')
}

// appendContent appends the rest of a response: the fields about its content, and that.
func (m Message) appendContent(out, content []byte) []byte {
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(content)), 10)
	return append(m.appendEnd(out), content...)
}

// appendEnd appends the end of a response's head.
func (m Message) appendEnd(out []byte) []byte {
	if m.Last {
		out = append(out, "\r\nConnection: close"...)
	}
	return append(out, "\r\n\r\n"...)
}
