// Package opening reads the request that opens a WebSocket connection (RFC 6455
// section 4.2.1), in every form that HTTP/1.1 allows (RFC 9110, RFC 9112). It is for
// servers whose library has no HTTP, or takes less than that.
package opening

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connbench/servers/contract"
)

// MaxBytes is the largest request, in bytes, with its empty line and those before it.
// servers/README.md demands that every server has such a limit.
const MaxBytes = 8 << 10

// End returns the length of the request at the beginning of data, empty lines before
// it included, or 0 while its own empty line is missing. The first seen bytes have been
// looked at before: they hold no end.
//
// A line may end without a CR, and empty lines before the request are skipped: RFC 9112
// section 2.2 allows the one and recommends the other.
func End(data []byte, seen int) int {
	begin := leading(data)
	// The line that the empty line follows may have ended before.
	for i := max(begin, seen-len("\n\r")); ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch rest := data[i:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return i + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i + 2
		}
	}
}

// leading is the length of the empty lines that data begins with.
func leading(data []byte) int {
	n := 0
	for {
		switch rest := data[n:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			n++
		case bytes.HasPrefix(rest, []byte("\r\n")):
			n += 2
		default:
			return n
		}
	}
}

// Refusal is the HTTP status with which a request is refused; 0 means that it is not.
type Refusal int

// Request is what matters of a request. It refers to the bytes that it was read from.
type Request struct {
	// Key is the value of Sec-WebSocket-Key.
	Key []byte
	// Deflate says that permessage-deflate is offered, and can be without context takeover.
	Deflate bool

	target             []byte
	host, version      []byte
	hosts, versions    int
	keys               int
	connects, upgrades bool
	coded, hasContent  bool
	lengthIsWrong      bool
	length             []byte
	lengths            int
	last               bool // it asks for the end of the connection
	events             bool // it accepts a stream of events
	waits              bool // it prefers to wait for an answer that is new
	known              []byte
	fields             []byte
}

// Read reads a whole request, as End delimits it. It allocates nothing.
func Read(data []byte) (Request, Refusal) {
	line, fields := cutLine(data[leading(data):])
	r := Request{fields: fields}
	method, refusal := r.readLine(line)
	switch {
	case refusal != 0:
		return r, refusal
	case string(method) != http.MethodGet:
		return r, http.StatusMethodNotAllowed
	case !r.readFields():
		return r, http.StatusBadRequest
	}
	return r, r.judge()
}

// readFields reads the header fields. It is false if one must be refused.
func (r *Request) readFields() (ok bool) {
	for fields := r.fields; len(fields) > 0; {
		var line []byte
		if line, fields = cutLine(fields); len(line) == 0 {
			break
		}
		name, value, ok := field(line)
		if !ok {
			return false
		}
		r.take(name, value)
	}
	return true
}

// cutLine cuts the first line off. A CR before its LF belongs to its end.
func cutLine(data []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// readLine reads the request line (RFC 9112 section 3).
func (r *Request) readLine(line []byte) (method []byte, _ Refusal) {
	method, rest, spaced := bytes.Cut(line, []byte(" "))
	target, version, spacedAgain := bytes.Cut(rest, []byte(" "))
	switch {
	case !spaced || !spacedAgain || !isToken(method) || !isVersion(version):
		return nil, http.StatusBadRequest
	case version[len("HTTP/")] != '1' || version[len("HTTP/1.")] == '0':
		return nil, http.StatusHTTPVersionNotSupported
	}
	if r.target = originForm(target); r.target == nil {
		return nil, http.StatusBadRequest
	}
	return method, 0
}

// isVersion says whether s is a version of HTTP (RFC 9112 section 2.3).
func isVersion(s []byte) bool {
	return len(s) == len("HTTP/1.1") && bytes.HasPrefix(s, []byte("HTTP/")) && isDigit(s[5]) && s[6] == '.' && isDigit(s[7])
}

// originForm returns path and query of a request target, which may be a whole URI
// (RFC 9112 sections 3.2.1 and 3.2.2), or nil if it is neither. They are what
// follows the authority; the path may be empty there.
func originForm(target []byte) []byte {
	for i, c := range target {
		broken := c == '%' && (len(target)-i < len("%00") || !isHex(target[i+1]) || !isHex(target[i+2]))
		if c <= ' ' || c >= 0x7f || c == '#' || broken {
			return nil
		}
	}
	if bytes.HasPrefix(target, []byte("/")) {
		return target
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !isOneOf(scheme, "http", "https", "ws", "wss") {
		return nil
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return nil
	}
	return rest[end:]
}

// field splits a field line (RFC 9112 section 5). It is false for one that must or may
// be refused: a space before the colon, a line that continues the one before it, and
// control characters.
func field(line []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return nil, nil, false
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return name, trim(value), true
}

// trim takes away the optional white space around a value (RFC 9110 section 5.6.3).
func trim(value []byte) []byte { return bytes.Trim(value, " \t") }

// take keeps what matters of a field. Names and the tokens of lists are the same in
// any case.
func (r *Request) take(name, value []byte) {
	switch {
	case isOneOf(name, "Host"):
		r.host = value
		r.hosts++
	case isOneOf(name, "Connection"):
		r.connects = r.connects || hasToken(value, "upgrade")
		r.last = r.last || hasToken(value, "close")
	case isOneOf(name, "Upgrade"):
		r.upgrades = r.upgrades || hasToken(value, "websocket")
	case isOneOf(name, "Sec-WebSocket-Version"):
		r.version = value
		r.versions++
	case isOneOf(name, "Sec-WebSocket-Key"):
		r.Key = value
		r.keys++
	case isOneOf(name, "Sec-WebSocket-Extensions"):
		r.Deflate = r.Deflate || offersDeflate(value)
	case isOneOf(name, "Transfer-Encoding"):
		r.coded = true
	case isOneOf(name, "Accept"):
		r.events = r.events || AcceptsEvents(value)
	case isOneOf(name, "Prefer"):
		r.waits = r.waits || PrefersWait(value)
	case isOneOf(name, "If-None-Match"):
		r.known = value
	case isOneOf(name, "Content-Length"):
		r.lengthIsWrong = r.lengthIsWrong || len(value) == 0 || len(bytes.Trim(value, "0123456789")) > 0
		r.hasContent = r.hasContent || len(bytes.Trim(value, "0")) > 0
		r.lengths, r.length = r.lengths+1, value
	}
}

// judge says what the fields are worth together.
func (r *Request) judge() Refusal {
	switch {
	case r.hosts != 1 || !isHost(r.host), r.lengthIsWrong:
		return http.StatusBadRequest
	case r.coded || r.hasContent:
		// A protocol may not be switched in the middle of a request (RFC 9110 section
		// 7.8), and nobody needs the content of this one.
		return http.StatusRequestEntityTooLarge
	case !r.connects || !r.upgrades:
		return http.StatusBadRequest
	case r.versions != 1 || string(r.version) != "13":
		return http.StatusUpgradeRequired
	case r.keys != 1 || !IsKey(r.Key):
		return http.StatusBadRequest
	}
	return 0
}

// isHost says whether s has only what a host and a port can have (RFC 9110 section 7.2).
func isHost(s []byte) bool {
	for _, c := range s {
		if !isAlphanumeric(c) && strings.IndexByte("-._~%!$&'()*+,;=:[]", c) < 0 {
			return false
		}
	}
	return true
}

// IsKey says whether s is 16 bytes in base64 (RFC 6455 section 4.1).
func IsKey(s []byte) bool {
	var key [18]byte // what the 24 characters of a key can decode to at most
	if len(s) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(key[:], s)
	return err == nil && n == 16
}

// hasToken says whether a list has a token, in lower case.
func hasToken(list []byte, token string) bool {
	return hasElement(list, func(element []byte) bool { return isOneOf(element, token) })
}

// hasElement says whether a list has an element of some kind. Elements may be empty (RFC 9110
// section 5.6.1).
func hasElement(list []byte, is func(element []byte) bool) bool {
	for len(list) > 0 {
		var element []byte
		element, list, _ = bytes.Cut(list, []byte(","))
		if is(trim(element)) {
			return true
		}
	}
	return false
}

// AcceptsEvents says whether the value of an Accept field (RFC 9110 section 12.5.1) has streams of
// events in it.
func AcceptsEvents(accept []byte) bool {
	return hasElement(accept, func(element []byte) bool {
		kind, _, _ := bytes.Cut(element, []byte(";"))
		return isOneOf(trim(kind), contract.EventStream)
	})
}

// PrefersWait says whether the value of a Prefer field has the preference to wait (RFC 7240
// section 4.3).
func PrefersWait(prefer []byte) bool {
	return hasElement(prefer, func(element []byte) bool {
		name, _, valued := bytes.Cut(element, []byte("="))
		return valued && isOneOf(trim(name), "wait")
	})
}

func isOneOf(s []byte, names ...string) bool {
	for _, name := range names {
		if len(s) == len(name) && strings.EqualFold(string(s), name) {
			return true
		}
	}
	return false
}

// isToken is RFC 9110 section 5.6.2.
func isToken(s []byte) bool {
	for _, c := range s {
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(s) > 0
}

func isAlphanumeric(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// acceptGUID is that of RFC 6455 section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AppendSwitch appends the response that opens the connection (RFC 6455 section 4.2.2).
// It allocates nothing, if out has room for it.
//
// With deflate it agrees to permessage-deflate without context takeover.
func (r *Request) AppendSwitch(out []byte, deflate bool) []byte {
	var text [24 + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(text[:0], r.Key...), acceptGUID...))
	out = append(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	out = base64.StdEncoding.AppendEncode(out, sum[:])
	if deflate {
		out = append(out, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"...)
	}
	return append(out, "\r\n\r\n"...)
}

// AppendTo appends the response that refuses a request and says that the connection
// ends.
func (status Refusal) AppendTo(out []byte) []byte {
	more := ""
	switch status {
	case http.StatusMethodNotAllowed:
		more = "Allow: GET\r\n"
	case http.StatusUpgradeRequired:
		more = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	}
	return fmt.Appendf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
		int(status), http.StatusText(int(status)), appendDate(nil, time.Now()), more)
}

// AppendPlain appends r in the one form that every library takes: for those that are
// particular about the form.
func (r *Request) AppendPlain(out []byte) []byte {
	out = append(out, "GET "...)
	if !bytes.HasPrefix(r.target, []byte("/")) {
		out = append(out, '/')
	}
	out = append(out, r.target...)
	out = append(out, " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"...)
	for fields := r.fields; ; {
		var line []byte
		if line, fields = cutLine(fields); len(line) == 0 {
			return append(out, "\r\n"...)
		}
		name, value, _ := field(line)
		if isOneOf(name, "Connection", "Upgrade", "Content-Length") {
			continue
		}
		out = append(append(out, name...), ": "...)
		out = append(append(out, value...), "\r\n"...)
	}
}

// Has says whether one of the lists that values are has a token, in lower case: for
// fields that a library has read.
func Has(values []string, token string) bool {
	for _, value := range values {
		if hasToken([]byte(value), token) {
			return true
		}
	}
	return false
}

// lists are the fields that must have a token, and how every library finds it.
var lists = []struct {
	field, token string
	plain        []string
}{
	{"Connection", "upgrade", []string{"upgrade"}},
	{"Upgrade", "websocket", []string{"websocket"}},
}

// Admit stands between net/http and a library: it refuses what the library would take though
// it must not, and is false then; and it gives lists the one form that every library reads.
func Admit(w http.ResponseWriter, r *http.Request) bool {
	// HTTP/1.0 and malformed keys are forbidden (RFC 6455 section 4.2.1). Content would be
	// taken for frames (RFC 9110 section 7.8).
	keys := r.Header["Sec-Websocket-Key"]
	if !r.ProtoAtLeast(1, 1) || r.ContentLength != 0 || len(keys) > 1 || len(keys) == 1 && !IsKey([]byte(keys[0])) {
		w.Header().Set("Connection", "close")
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return false
	}
	// Some do not find a token in a list with a version or an empty element before it.
	for _, list := range lists {
		if Has(r.Header[list.field], list.token) {
			r.Header[list.field] = list.plain
		}
	}
	return true
}
