package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"connbench/harness/agent/programs"
)

// pieceBytes is how much of a program travels in one request.
const pieceBytes = 1 << 20

// put brings the next piece of a program; the reply to the last is its path.
type put struct {
	programs.Program
	Piece []byte `json:"piece"`
	Last  bool   `json:"last"`
}

var (
	// finding has the program's path on the host as its reply, "" if it must be sent.
	finding  = define("have", func(s *server, p programs.Program) (string, error) { return s.carries(p.Find()) })
	bringing = define("put", func(s *server, r put) (string, error) {
		return s.carries(s.incoming.Add(r.Program, r.Piece, r.Last))
	})
	taking = define("take", func(s *server, r take) (string, error) {
		return s.carries(r.Program.Take(r.File))
	})
)

// take names the file on the host where the engine has put a program.
type take struct {
	programs.Program
	File string `json:"file"`
}

// Place copies a file of this machine to a host by what its engine has for that, and
// returns where it is there. It is moved away from there, and its content checked.
type Place func(ctx context.Context, file string) (there string, err error)

// PlaceBy has programs brought by the engine of the host rather than over the pipe.
func (c *Client) PlaceBy(place Place) { c.place = place }

// carries notes that this run uses the program at path, "" if it is not here yet.
func (s *server) carries(path string, err error) (string, error) {
	if path != "" {
		s.carried[path] = true
	}
	return path, err
}

// Carry brings the program at path to the host, unless it is there already, and
// returns its path on the host. No more than a piece of it is in memory at a time: there
// may be many hosts.
func (c *Client) Carry(ctx context.Context, path string) (string, error) {
	what, err := programs.NamedIn(path)
	if err != nil {
		return "", err
	}
	if there, err := call(ctx, c, finding, what); err != nil || there != "" {
		return there, err
	}
	if c.place != nil {
		file, err := c.place(ctx, path)
		if err != nil {
			return "", fmt.Errorf("host %s: %w", c.name, err)
		}
		return call(ctx, c, taking, take{what, file})
	}
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	piece := make([]byte, pieceBytes)
	for {
		n, err := io.ReadFull(from, piece)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return "", err
		}
		there, err := call(ctx, c, bringing, put{what, piece[:n], last})
		if err != nil || last {
			return there, err
		}
	}
}
