package conform

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connbench/scripts/needs"
	"connbench/servers/conform/exam"
	"connbench/servers/contract"
	"connbench/servers/internal/work"
)

// servePlain is the reference server of HTTP and of bytes.
func (s *reference) servePlain(c *net.TCPConn) {
	defer s.running.Done()
	counted := int64(1)
	if s.has("count-twice") {
		counted = 2
	}
	s.connections.Add(counted)
	in := bufio.NewReader(c)
	for s.answerPlain(c, in) {
	}
	if s.has("half-open") {
		return
	}
	if s.has("file-leak") {
		if file, err := c.File(); err == nil {
			s.global.Lock()
			s.leakedFiles = append(s.leakedFiles, file)
			s.global.Unlock()
		}
	}
	if s.has("goroutine-leak") {
		go func() { select {} }()
	}
	c.Close()
	s.connections.Add(-counted)
}

// answerPlain reads a request, or some bytes, and answers. It is false at the end of the connection.
func (s *reference) answerPlain(c *net.TCPConn, in *bufio.Reader) (more bool) {
	if s.has("deadline") {
		c.SetReadDeadline(time.Now().Add(time.Second))
	}
	if _, err := in.Peek(1); err != nil {
		if s.has("reset-exit") && !errors.Is(err, io.EOF) {
			os.Exit(3)
		}
		return false
	}
	if s.has("request-lock") {
		s.global.Lock()
		defer s.global.Unlock()
	}
	r, content, status := s.readPlain(in)
	if status != 0 {
		if status > 0 {
			fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status))
		}
		return false
	}
	if s.has("burst-lost") {
		in.Discard(in.Buffered())
	}
	if s.has("crosstalk") {
		s.global.Lock()
		s.scratch = append(s.scratch[:0], content...)
		s.global.Unlock()
		time.Sleep(time.Millisecond)
		s.global.Lock()
		content = slices.Clone(s.scratch)
		s.global.Unlock()
	}
	if s.has("content-flip") && len(content) > 4000 {
		content[4000] ^= 1
	}
	if len(content) > 0 && !s.has("work-none") {
		work.Do(s.Work())
	}
	if s.Protocol == contract.ProtocolTCP {
		_, err := c.Write(content)
		return err == nil
	}
	if s.Broadcast {
		return s.web.answer(s, c, in, r, content)
	}
	_, err := c.Write(s.answerTo(content, ""))
	return err == nil && (!r.Close || s.has("last-kept"))
}

// answerTo is the answer to a request of HTTP, with more header fields.
func (s *reference) answerTo(content []byte, fields string) []byte {
	date := time.Now()
	if s.has("old-date") {
		date = date.Add(-time.Hour)
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: %s\r\n%sContent-Length: %d\r\n\r\n", date.UTC().Format(http.TimeFormat), fields, len(content))
	return append([]byte(head), content...)
}

// readPlain reads what is to be sent back, and the request if there is one. status is that of a
// refusal, negative for the end of the connection.
func (s *reference) readPlain(in *bufio.Reader) (r *http.Request, content []byte, status int) {
	if s.Protocol == contract.ProtocolTCP {
		content = make([]byte, 16<<10)
		n, err := in.Read(content)
		if err != nil {
			return nil, nil, -1
		}
		return nil, content[:n], 0
	}
	r, err := http.ReadRequest(in)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, -1
	case err != nil && s.has("malformed"):
		return &http.Request{Close: true}, nil, 0
	case err != nil:
		return nil, nil, http.StatusBadRequest
	case s.has("one-path") && r.URL.Path != "/":
		return nil, nil, http.StatusNotFound
	case s.has("chunks-refused") && r.ContentLength < 0:
		return nil, nil, http.StatusNotImplemented
	}
	limit := int64(s.MaxMessage)
	if s.has("limit-none") {
		limit = 1 << 30
	}
	if r.ContentLength > limit {
		return nil, nil, http.StatusRequestEntityTooLarge
	}
	content, err = io.ReadAll(io.LimitReader(r.Body, limit))
	if err != nil {
		return nil, nil, -1
	}
	return r, content, 0
}

// plainDefects are those of [defects] for HTTP and for bytes, each a server of its own.
var plainDefects = []struct {
	protocol, name string
	fails          string // over which others may fail as well
}{
	{"tcp", "content-flip", "echo"},
	{"http", "content-flip", "echo"},
	{"http", "burst-lost", "echo-burst"},
	{"http", "crosstalk", "echo-concurrent"},
	{"http", "request-lock", "echo-slow request-stuck"},
	{"tcp", "work-none", "work"},
	{"http", "work-none", "work"},
	{"tcp", "reset-exit", "reset"},
	{"http", "half-open", "half-close connections churn"},
	{"tcp", "deadline", "idle"},
	{"http", "count-twice", "connections stats settle"},
	{"tcp", "file-leak", "churn"},
	{"http", "goroutine-leak", "churn"},
	{"tcp", "stdin-ignored", "stdin-end"},
	{"http", "sigterm-ignored", "sigterm"},
	{"http", "one-path", "requests"},
	{"http", "last-kept", "request-last"},
	{"http", "old-date", "request-date"},
	{"http", "malformed", "request-malformed"},
	{"http", "chunks-refused", "request-chunks"},
	{"http", "limit-none", "limit"},
	{"http", "events-missed", "broadcast-events"},
	{"http", "events-twice", "broadcast-events broadcast-events-order"},
	{"http", "events-past", "broadcast-events-members"},
	{"http", "events-blocking", "broadcast-events-unread"},
	{"http", "posts-turned", "broadcast-events-order broadcast-polls-order"},
	{"http", "polls-at-once", "broadcast-polls"},
	{"http", "polls-newest", "broadcast-polls-order"},
	{"http", "polls-past", "broadcast-polls-members"},
	{"http", "polls-hoard", "broadcast-polls-unread"},
}

// The reference passes in HTTP and in bytes, each defect fails its checks, and there is one for
// each check that WebSocket does not have.
func TestPlainDefects(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	tried := map[string]bool{}
	for _, d := range plainDefects {
		for check := range strings.FieldsSeq(d.fails) {
			tried[check] = true
		}
	}
	for _, protocol := range []string{contract.ProtocolHTTP, contract.ProtocolTCP} {
		for _, check := range checksOf(contract.Options{Protocol: protocol}, true) {
			inCommon := slices.ContainsFunc(checksOf(contract.Options{}, true), func(other exam.Case) bool { return other.Name == check.Name && other.Any })
			if !tried[check.Name] && !inCommon {
				t.Errorf("%s: no defect is known over which it must fail", check.Name)
			}
		}
		t.Run(protocol, func(t *testing.T) { examinePlain(t, protocol, "", "") })
	}
	// Not by t.Parallel: see TestDefects.
	var all sync.WaitGroup
	defer all.Wait()
	for _, d := range plainDefects {
		all.Go(func() {
			t.Run(d.protocol+" "+d.name, func(t *testing.T) { examinePlain(t, d.protocol, d.name, d.fails) })
		})
	}
}

// examinePlain runs the checks that a defect must fail. Without a defect it runs all of them.
func examinePlain(t *testing.T, protocol, defect, fails string) {
	program := broken(defect)
	program.Options.Protocol = protocol
	for _, check := range checksOf(contract.Options{Protocol: protocol}, true) {
		if must := slices.Contains(strings.Fields(fails), check.Name); must || defect == "" {
			if result := examine(t.Context(), program, check); result.Passed == must {
				t.Errorf("%s: passed %v: %s", check.Name, result.Passed, result.Detail)
			}
		}
	}
}
