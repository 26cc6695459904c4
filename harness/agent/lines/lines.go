// Package lines reads lines from somebody who may send one without an end.
package lines

import (
	"bufio"
	"errors"
)

// ErrLong marks a line that is longer than allowed.
var ErrLong = errors.New("line too long")

// Read reads a line of at most limit bytes, without its end; of a longer one
// the beginning, with [ErrLong]. The last line of a
// text may have none.
func Read(from *bufio.Reader, limit int) (line []byte, err error) {
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit+1 || len(line) > limit && line[limit] != '\n' {
			return line[:limit], ErrLong
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && len(line) == 0:
			return nil, err
		case len(line) > 0 && line[len(line)-1] == '\n':
			line = line[:len(line)-1]
		}
		return line, nil
	}
}
