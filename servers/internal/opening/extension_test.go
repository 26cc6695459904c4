package opening

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

// An offer with a parameter that is unknown, given twice or out of bounds is declined, and so is
// one that bounds the server's window; the next offer may do.
func TestOffersOfCompression(t *testing.T) {
	for field, want := range map[string]bool{
		"permessage-deflate":                         true,
		"permessage-deflate; client_max_window_bits": true,
		"permessage-deflate;client_max_window_bits = 15 ; server_no_context_takeover":    true,
		"Permessage-Deflate; client_max_window_bits=\"9\"":                               true,
		"mine, permessage-deflate; mine, permessage-deflate; server_no_context_takeover": true,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":              true,
		"permessage-deflate; server_max_window_bits=10":                                  false,
		"permessage-deflate; client_max_window_bits=7":                                   false,
		"permessage-deflate; client_max_window_bits=16":                                  false,
		"permessage-deflate; client_max_window_bits=08":                                  false,
		"permessage-deflate; client_max_window_bits=":                                    false,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":             false,
		"permessage-deflate; server_no_context_takeover=1":                               false,
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover":     false,
		"permessage-deflate; mine":                                                       false,
		"permessage-deflate2":                                                            false,
		"x-webkit-deflate-frame":                                                         false,
		"":                                                                               false,
		"\r\nSec-WebSocket-Extensions: permessage-deflate":                               true,
		"permessage-deflate; mine\r\nSec-WebSocket-Extensions: permessage-deflate; mine": false,
	} {
		r, refusal := Read([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: " + field + "\r\n\r\n"))
		if refusal != 0 || r.Deflate != want {
			t.Errorf("%q: refusal %d, compression %v", field, refusal, r.Deflate)
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.AppendSwitch(nil, r.Deflate))), nil)
		if err != nil {
			t.Fatal(err)
		}
		if agreed := response.Header.Get("Sec-WebSocket-Extensions"); (agreed == "permessage-deflate; server_no_context_takeover; client_no_context_takeover") != want {
			t.Errorf("%q is answered by %q", field, agreed)
		}
	}
}
