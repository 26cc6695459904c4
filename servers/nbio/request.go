package main

import (
	"net/http"

	"github.com/lesismal/nbio"

	"connbench/servers/internal/opening"
)

// request is an opening request that is not whole yet.
type request struct {
	data    []byte
	refused bool
}

// takeRequest sits between a poller and nbio's HTTP parser: that sets no limit to a request,
// lets pass what HTTP forbids, and refuses much that it allows, such as a whole URI, a
// tab before a value or a line that ends in LF. It gets the request in plain form.
func (s *server) takeRequest(c *nbio.Conn, data []byte) {
	before := 0
	if kept, ok := s.requests.Load(c); ok {
		r := kept.(*request)
		if r.refused {
			return // the peer has been told, and may still be sending
		}
		before = len(r.data)
		r.data = append(r.data, data...)
		data = r.data
	}
	size := opening.End(data, before)
	switch {
	case size == 0 && len(data) > opening.MaxBytes, size > opening.MaxBytes:
		s.refuse(c, http.StatusRequestHeaderFieldsTooLarge)
		return
	case size == 0:
		if before == 0 {
			s.requests.Store(c, &request{data: append([]byte(nil), data...)})
		}
		return
	}
	r, refusal := opening.Read(data[:size])
	if refusal != 0 {
		s.refuse(c, refusal)
		return
	}
	s.requests.Delete(c)
	c.DataHandler()(c, r.AppendPlain(nil))
	if len(data) > size {
		// A client has to wait for the response (RFC 6455 section 4.1), which may
		// come from another goroutine than this one.
		c.Close()
	}
}

// refuse answers a request and lingers.
func (s *server) refuse(c *nbio.Conn, status opening.Refusal) {
	s.requests.Store(c, &request{refused: true})
	c.Write(status.AppendTo(nil))
	endStream(c)
}
