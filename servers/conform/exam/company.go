package exam

// Company are connections that must be served whatever others do. There are a
// few of them, so that each event loop has one.
type Company struct {
	s *Server
	// Conns are the connections.
	Conns []*Conn
	next  int
}

// Company opens such connections.
func (s *Server) Company() *Company { return &Company{s: s, Conns: s.OpenSome(8)} }

// Served fails unless all of them are served, and a newcomer too.
func (o *Company) Served() {
	for _, c := range o.Conns {
		c.RoundTrip()
	}
	o.s.Open().RoundTrip()
}

// NextServed fails unless the next of them is served.
func (o *Company) NextServed() {
	o.next = (o.next + 1) % len(o.Conns)
	o.Conns[o.next].RoundTrip()
}

// ServedDuring writes data to slow one byte at a time, and after each byte has
// one of the others served: the order of these events is the proof. Now and
// then there is a newcomer.
func (o *Company) ServedDuring(slow *Conn, data []byte) {
	for i := range data {
		slow.Write("one byte", data[i:i+1])
		o.NextServed()
		if i%64 == 0 {
			o.s.Open().RoundTrip()
		}
	}
}
