package opening

import (
	"net/http"
	"strconv"
	"time"
)

// Message is what matters of a request that HTTP itself answers (RFC 9112 section 6): not one
// that opens a WebSocket.
type Message struct {
	// Length is that of the content behind the request, in bytes.
	Length int
	// Last says that the connection ends with the answer.
	Last bool
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
	case r.lengths == 0:
		return Message{Last: r.last}, 0
	}
	length, err := strconv.Atoi(string(r.length))
	if err != nil || length > limit {
		return Message{}, http.StatusRequestEntityTooLarge
	}
	return Message{length, r.last}, 0
}

// AppendAnswer appends the response to a message: its own content.
func (m Message) AppendAnswer(out, content []byte) []byte {
	out = appendDate(append(out, "HTTP/1.1 200 OK\r\nDate: "...), time.Now())
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(content)), 10)
	if m.Last {
		out = append(out, "\r\nConnection: close"...)
	}
	return append(append(out, "\r\n\r\n"...), content...)
}
