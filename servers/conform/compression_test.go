package conform

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"connbench/scripts/needs"
	"connbench/servers/conform/exam"
	"connbench/servers/contract"
	"connbench/servers/internal/opening"
)

// compressor is the permessage-deflate of a connection to the reference server.
type compressor struct {
	deflates     bool // it was agreed on
	isCompressed bool // the message under way
	window       []byte
	sent         []byte // the window of what is sent, for deflate-streams
	writer       *flate.Writer
	out          bytes.Buffer
}

// negotiate looks for an offer in a request, and returns what the server says of it.
func (c *compressor) negotiate(s *reference, head []byte) (answer string) {
	r, _ := opening.Read(head)
	offers := bytes.Contains(head, []byte("permessage-deflate"))
	switch {
	case s.Compression == "", s.has("deflate-silent"):
		return ""
	case s.has("deflate-agreed"), s.has("deflate-lax") && offers:
	case s.has("deflate-first") && bytes.Contains(head, []byte("mine")):
		return ""
	case !r.Deflate:
		return ""
	}
	c.deflates = true
	answer = "permessage-deflate"
	if s.Compression == contract.CompressionDeflate || s.has("deflate-without") {
		answer += "; server_no_context_takeover; client_no_context_takeover"
	}
	if s.has("deflate-bounded") || s.has("deflate-bounds") && bytes.Contains(head, []byte("client_max_window_bits")) {
		answer += "; client_max_window_bits=10"
	}
	return answer
}

// inflate inflates a message of the client.
func (c *compressor) inflate(s *reference, message []byte) ([]byte, error) {
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	takeover := s.Compression == contract.CompressionTakeover && !s.has("deflate-forgets")
	if s.has("deflate-crosstalk") {
		s.global.Lock()
		defer s.global.Unlock()
		c.window = s.window
		defer func() { s.window = c.window }()
	}
	var window []byte
	if takeover {
		window = c.window
	}
	source := bytes.NewReader(append(bytes.Clone(message), tail...))
	var plain []byte
	for source.Len() > 0 {
		piece, err := io.ReadAll(flate.NewReaderDict(source, append(bytes.Clone(window), plain...)))
		switch {
		case err != nil && s.has("deflate-garbage"):
			return message, nil
		case err != nil:
			return nil, violation(1007)
		}
		if plain = append(plain, piece...); s.has("deflate-one-stream") && source.Len() > 0 {
			return nil, violation(1007)
		}
	}
	if len(plain) > s.MaxMessage && !s.has("deflate-bomb") {
		return nil, violation(1009)
	}
	if len(plain) == 0 && s.has("deflate-nothing") {
		return nil, errClosed
	}
	c.window = append(c.window, plain...)
	c.window = c.window[max(0, len(c.window)-32<<10):]
	return plain, nil
}

// deflate compresses a message to the client.
func (c *compressor) deflate(s *reference, message []byte) []byte {
	if c.writer == nil || s.Compression == contract.CompressionDeflate && !s.has("deflate-uninvited") || s.has("deflate-fresh") {
		c.writer, _ = flate.NewWriter(&c.out, flate.BestSpeed)
	}
	c.out.Reset()
	if half := len(message) / 2; s.has("deflate-streams") {
		// Two streams, which refer to what came before. BestSpeed would not refer to a dictionary.
		var window []byte
		if s.Compression == contract.CompressionTakeover {
			window = c.sent
		}
		w, _ := flate.NewWriterDict(&c.out, flate.DefaultCompression, window)
		w.Write(message[:half])
		w.Close()
		c.writer, _ = flate.NewWriterDict(&c.out, flate.DefaultCompression, append(bytes.Clone(window), message[:half]...))
		c.sent = append(bytes.Clone(window), message...)
		c.sent = c.sent[max(0, len(c.sent)-32<<10):]
		message = message[half:]
	}
	c.writer.Write(message)
	c.writer.Flush()
	return bytes.TrimSuffix(bytes.Clone(c.out.Bytes()), []byte("\x00\x00\xff\xff"))
}

// compressionDefects are those of [defects] for servers with compression, each a server of its own.
var compressionDefects = []struct {
	way, name string
	fails     string // over which others may fail as well
	says      string
}{
	{"deflate", "deflate-silent", "deflate-offer deflate-echo", "expected permessage-deflate (the contract), got no permessage-deflate"},
	{"deflate", "deflate-agreed", "deflate-offer", "expected no extension"},
	{"deflate", "deflate-bounded", "deflate-offer", "client has not offered to bound"},
	{"deflate-takeover", "deflate-without", "deflate-offer deflate-takeover", "expected permessage-deflate without server_no_context_takeover"},
	{"deflate", "deflate-first", "deflate-offer", ""},
	{"deflate", "deflate-lax", "deflate-decline", "sent a handshake with permessage-deflate; mine, expected no extension (RFC 7692 section 7.1), got Sec-WebSocket-Extensions: permessage-deflate"},
	{"deflate", "deflate-never", "deflate-echo", "expected an echo that is compressed"},
	{"deflate", "deflate-large", "deflate-echo", "a compressed text message of 2000 bytes, expected an echo that is compressed"},
	{"deflate", "deflate-uninvited", "deflate-echo", "compressed bytes that do not inflate"},
	{"deflate", "deflate-always", "deflate-plain", ""},
	{"deflate", "deflate-one-stream", "deflate-blocks", ""},
	{"deflate", "fragments-lost", "deflate-fragments", ""},
	{"deflate-takeover", "pong-late", "deflate-fragments", ""},
	{"deflate", "deflate-nothing", "deflate-empty", ""},
	{"deflate", "crosstalk", "deflate-concurrent", "another message"},
	{"deflate-takeover", "deflate-crosstalk", "deflate-concurrent", ""},
	{"deflate", "deflate-pong", "deflate-control", "reserved bits 100"},
	{"deflate", "deflate-ping", "deflate-control", "sent a ping with RSV1"},
	{"deflate", "deflate-garbage", "deflate-invalid", "expected a close frame, or the end of the connection (RFC 7692 section 7.2.2), got a binary frame"},
	{"deflate", "utf8-none", "deflate-utf8", ""},
	{"deflate", "deflate-bomb", "deflate-limit", "that inflate to 65537, more than the limit of 65536"},
	{"deflate-takeover", "deflate-forgets", "deflate-takeover", ""},
	{"deflate-takeover", "deflate-fresh", "deflate-takeover", "expected an echo by reference to the one before"},
	{"deflate-takeover", "deflate-never", "deflate-takeover", "expected an echo by reference to the one before"},
}

// The reference passes with each way of compression, each defect fails its checks, and there is
// one for each check.
func TestCompressionDefects(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	tried := map[string]bool{}
	for _, d := range compressionDefects {
		for check := range strings.FieldsSeq(d.fails) {
			tried[check] = true
		}
	}
	for _, way := range contract.Compressions {
		for _, check := range checksOf(contract.Options{Compression: way}, false) {
			if check.Section == exam.Compression && !tried[check.Name] {
				t.Errorf("%s: no defect is known over which it must fail", check.Name)
			}
		}
		t.Run(way, func(t *testing.T) { examineCompression(t, way, "", "", "") })
	}
	// What is allowed and the reference does not do.
	for _, way := range contract.Compressions {
		for _, trait := range []string{"deflate-bounds", "deflate-streams"} {
			t.Run(way+" "+trait, func(t *testing.T) { examineCompression(t, way, trait, "", "") })
		}
	}
	// Not by t.Parallel: see TestDefects.
	var all sync.WaitGroup
	defer all.Wait()
	for _, d := range compressionDefects {
		all.Go(func() {
			t.Run(d.way+" "+d.name, func(t *testing.T) { examineCompression(t, d.way, d.name, d.fails, d.says) })
		})
	}
}

// examineCompression runs the checks that a defect must fail; all, where there is none to fail.
func examineCompression(t *testing.T, way, defect, fails, says string) {
	program := broken(defect)
	program.Options.Compression = way
	for _, check := range checksOf(program.Options, false) {
		must := slices.Contains(strings.Fields(fails), check.Name)
		if check.Section != exam.Compression || !must && fails != "" {
			continue
		}
		result := examine(t.Context(), program, check)
		if result.Passed == must {
			t.Errorf("%s: passed %v: %s", check.Name, result.Passed, result.Detail)
		}
		if first, _, _ := strings.Cut(fails, " "); must && check.Name == first && !strings.Contains(result.Detail, says) {
			t.Errorf("%s says %q, which does not contain %q", check.Name, result.Detail, says)
		}
	}
}

// A program can be examined in one section alone.
func TestOnlyOneSection(t *testing.T) {
	needs.Server(t)
	program := broken("")
	program.Options.Compression, program.Only = contract.CompressionDeflate, exam.Closing
	results, err := Run(t.Context(), program, nil)
	if err != nil || len(results) == 0 || slices.ContainsFunc(results, func(r Result) bool { return r.Section != string(exam.Closing) || !r.Passed }) {
		t.Errorf("%v, %+v", err, results)
	}
}
