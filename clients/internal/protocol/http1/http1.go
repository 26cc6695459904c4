// Package http1 is what WebSocket's handshake and HTTP have in common (RFC 9112): it writes
// requests, and reads the heads of answers, which may arrive in pieces.
package http1

import (
	"bytes"
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"connbench/clients/control"
)

// MaxHead is the longest head of an answer that is accepted, with interim responses before
// it, in bytes.
const MaxHead = 8 << 10

// ErrBadAnswer is an answer that is no HTTP/1.1, or longer than [MaxHead].
var ErrBadAnswer error = control.BadAnswer

// AppendRequest appends a request without the empty line that ends it: method, path, Host and
// the headers of the opening, as connection number n sends them to target. What {n} stands for
// is filled in.
func AppendRequest(b []byte, method string, o control.Opening, target netip.AddrPort, n uint64) []byte {
	number := strconv.FormatUint(n, 10)
	of := func(text string) string { return strings.ReplaceAll(text, control.Number, number) }
	b = append(b, method+" "+of(cmp.Or(o.Path, "/"))+" HTTP/1.1\r\nHost: "...)
	if o.Host != "" {
		b = append(b, o.Host...)
	} else {
		b = target.AppendTo(b)
	}
	b = append(b, "\r\n"...)
	for _, header := range o.Headers {
		b = append(b, header.Name+": "+of(header.Value)+"\r\n"...)
	}
	for _, header := range o.Each {
		b = append(b, header.Name+": "+of(header.Values[n%uint64(len(header.Values))])+"\r\n"...)
	}
	return b
}

// RejectedError is the HTTP status of an answer that is not the one wanted.
type RejectedError string

func (RejectedError) Error() string { return string(control.Rejected) }

// StatusLine reads a status line (RFC 9112 section 4) and returns its status code and
// what follows. Any version from 1.1 to 1.9 will do (RFC 9110 section 2.5). What
// cannot become a status line is an error as soon as that is known.
func StatusLine(p []byte) (status, rest []byte, complete bool, err error) {
	const form = "HTTP/1.d ddd" // d: a digit
	line, rest, complete := CutLine(p)
	if !complete {
		line = bytes.TrimSuffix(p, []byte{'\r'})
	}
	for k := range min(len(line), len(form)) {
		isDigit := '0' <= line[k] && line[k] <= '9'
		if form[k] == 'd' && !isDigit || form[k] != 'd' && line[k] != form[k] {
			return nil, nil, false, ErrBadAnswer
		}
	}
	const minor, code = len("HTTP/1."), len("HTTP/1.d ")
	switch {
	case len(line) > minor && line[minor] == '0', len(line) > len(form) && line[len(form)] != ' ':
		return nil, nil, false, ErrBadAnswer
	case !complete:
		return nil, nil, false, nil
	case len(line) < len(form):
		return nil, nil, false, ErrBadAnswer
	}
	return line[code:len(form)], rest, true, nil
}

// Field is a header field.
type Field struct{ Name, Value []byte }

// NextField reads a header field. end says that there was an empty line instead.
func NextField(p []byte) (f Field, rest []byte, end, complete bool, err error) {
	line, rest, complete := CutLine(p)
	if !complete || len(line) == 0 {
		return Field{}, rest, complete, complete, nil
	}
	name, value, found := bytes.Cut(line, []byte{':'})
	if !found {
		return Field{}, nil, false, false, ErrBadAnswer
	}
	return Field{name, bytes.Trim(value, " \t")}, rest, false, true, nil
}

// SkipFields passes over the header fields of an interim response.
func SkipFields(p []byte) (rest []byte, complete bool, err error) {
	for {
		_, rest, end, complete, err := NextField(p)
		if err != nil || !complete || end {
			return rest, complete, err
		}
		p = rest
	}
}

// CutLine splits p after its first line, which ends in CR LF, or in LF alone (RFC 9112
// section 2.2).
func CutLine(p []byte) (line, rest []byte, complete bool) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return nil, p, false
	}
	return bytes.TrimSuffix(p[:end], []byte{'\r'}), p[end+1:], true
}

// HasToken says whether a list of tokens, separated by commas, has one.
func HasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte{','})
		if EqualFold(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// EqualFold compares with lower, which is in lower case, ASCII only.
func EqualFold(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i, c := range p {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
