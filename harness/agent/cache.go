package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What is kept in a host's cache: programs that were used of late, and of those
// the last that fit. What a run may still need is younger than keepSurely.
const (
	keep       = 14 * 24 * time.Hour
	keepSurely = time.Hour
	keepBytes  = 512 << 20
)

// cached is the path of the program with this hash, "" if it is not there whole.
func cached(hash, name string) (string, error) {
	folder, err := cacheFolder()
	if err != nil {
		return "", err
	}
	prune(folder, time.Now())
	path := filepath.Join(folder, filepath.Base(hash), filepath.Base(name))
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if sumOf(text) != hash {
		return "", nil
	}
	return path, touch(path)
}

// touch notes that a program in the cache is used.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(filepath.Dir(path), now, now)
}

// prune removes what need not be kept of the cache.
func prune(folder string, now time.Time) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	type program struct {
		path  string
		used  time.Time
		bytes int64
	}
	var programs []program
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if info, err := entry.Info(); err == nil {
			programs = append(programs, program{path, info.ModTime(), bytesIn(path)})
		}
	}
	slices.SortFunc(programs, func(a, b program) int { return b.used.Compare(a.used) })
	var total int64
	for _, p := range programs {
		total += p.bytes
		if age := now.Sub(p.used); age > keep || total > keepBytes && age > keepSurely {
			os.RemoveAll(p.path)
		}
	}
}

// bytesIn is the size of a folder's files.
func bytesIn(folder string) int64 {
	files, err := os.ReadDir(folder)
	if err != nil {
		return 0
	}
	var sum int64
	for _, file := range files {
		if info, err := file.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// pieceBytes is how much of a program travels in one request.
const pieceBytes = 1 << 20

// have asks for the program with a hash: the reply is its path on the host, "" if it
// must be sent.
type have struct {
	SHA256 string `json:"sha256"`
	Name   string `json:"name"`
}

// put brings the next piece of a program; the reply to the last is its path.
type put struct {
	have
	Piece []byte `json:"piece"`
	Last  bool   `json:"last"`
}

var (
	finding  = define("have", func(s *server, r have) (string, error) { return s.carries(cached(r.SHA256, r.Name)) })
	bringing = define("put", func(s *server, r put) (string, error) { return s.carries(s.incoming.add(r)) })
)

// carries notes that this run uses the program at path, "" if it is not here yet.
func (s *server) carries(path string, err error) (string, error) {
	if path != "" {
		s.carried[path] = true
	}
	return path, err
}

// Carry brings the program at path to the host, unless it is there already, and
// returns its path on the host.
func (c *Client) Carry(ctx context.Context, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	what := have{SHA256: sumOf(text), Name: filepath.Base(path)}
	if there, err := call(ctx, c, finding, what); err != nil || there != "" {
		return there, err
	}
	for {
		piece := text[:min(len(text), pieceBytes)]
		text = text[len(piece):]
		last := len(text) == 0
		there, err := call(ctx, c, bringing, put{what, piece, last})
		if err != nil || last {
			return there, err
		}
	}
}

// incoming is a program that is on its way, piece by piece.
type incoming struct{ text bytes.Buffer }

// add appends a piece; after the last one it checks the hash, files the program
// and returns its path.
func (in *incoming) add(r put) (string, error) {
	hash, name := r.SHA256, r.Name
	in.text.Write(r.Piece)
	if !r.Last {
		return "", nil
	}
	text := bytes.Clone(in.text.Bytes())
	in.text = bytes.Buffer{}
	if sum := sumOf(text); sum != hash {
		return "", fmt.Errorf("%s arrived damaged: SHA-256 %s, want %s", name, sum, hash)
	}
	folder, err := cacheFolder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, hash, filepath.Base(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	// Written beside and renamed: a half-written program must never be found, and
	// one that is running cannot be written to.
	partial, err := os.CreateTemp(filepath.Dir(path), "partial")
	if err != nil {
		return "", err
	}
	defer os.Remove(partial.Name())
	if _, err := partial.Write(text); err != nil {
		partial.Close()
		return "", fmt.Errorf("keeping %s (%d MB) in %s: %w", name, len(text)>>20, folder, err)
	}
	if err := errors.Join(partial.Chmod(0o700), partial.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(partial.Name(), path)
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
