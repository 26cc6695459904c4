package toys

import (
	"io"

	"connbench/clients/internal/engine"
	"connbench/clients/internal/security"
)

// reversed is a security layer: every bit is reversed on the way.
type reversed struct{ engine.Engine }

func init() {
	security.Layers.Add("reversed bits", func(c security.Config) (engine.Engine, error) { return reversed{c.Engine}, nil })
}

func (r reversed) Send(i int, p []byte) (n int, err error) { return r.Engine.Send(i, reverse(p)) }

func (r reversed) Deliver(h engine.Handler) { r.Engine.Deliver(reversing{h}) }

type reversing struct{ engine.Handler }

func (r reversing) Data(i int, p []byte) { r.Handler.Data(i, reverse(p)) }

func reverse(p []byte) []byte {
	q := make([]byte, len(p))
	for k, c := range p {
		q[k] = ^c
	}
	return q
}

// secret is the peer's side.
type secret struct{ io.ReadWriter }

func (s secret) Read(p []byte) (n int, err error) {
	n, err = s.ReadWriter.Read(p)
	copy(p, reverse(p[:n]))
	return n, err
}

func (s secret) Write(p []byte) (n int, err error) { return s.ReadWriter.Write(reverse(p)) }
