// Package programs keeps the programs that came over an agent's pipe in a folder of the
// host, so that the next run finds them. Nobody else can write there, since what lies
// there is run.
package programs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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

// Program names a program by its content.
type Program struct {
	SHA256 string `json:"sha256"`
	Name   string `json:"name"`
}

// NamedIn is the program in a file, under the file's name.
func NamedIn(path string) (Program, error) {
	file, err := os.Open(path)
	if err != nil {
		return Program{}, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return Program{}, err
	}
	return Program{hex.EncodeToString(sum.Sum(nil)), filepath.Base(path)}, nil
}

// Find returns the path of the program, "" if it is not there whole.
func (p Program) Find() (string, error) {
	folder, err := Folder()
	if err != nil {
		return "", err
	}
	prune(folder, time.Now())
	path := filepath.Join(folder, filepath.Base(p.SHA256), filepath.Base(p.Name))
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if sumOf(text) != p.SHA256 {
		return "", nil
	}
	return path, Touch(path)
}

// Touch notes that the program at path is used.
func Touch(path string) error {
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

// Incoming is a program that is on its way, piece by piece.
type Incoming struct{ text bytes.Buffer }

// Add appends a piece. After the last one it checks the content, files the program and
// returns its path.
func (in *Incoming) Add(p Program, piece []byte, last bool) (string, error) {
	in.text.Write(piece)
	if !last {
		return "", nil
	}
	text := bytes.Clone(in.text.Bytes())
	in.text = bytes.Buffer{}
	return p.file(text)
}

// Take files the program that lies at path, which is somebody else's to write to, and
// removes it there.
func (p Program) Take(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	os.Remove(path) // in a read-only image it stays
	return p.file(text)
}

// file checks the content of a program, keeps it in the folder of programs and returns its
// path.
func (p Program) file(text []byte) (string, error) {
	if sum := sumOf(text); sum != p.SHA256 {
		return "", fmt.Errorf("%s arrived damaged: SHA-256 %s, want %s", p.Name, sum, p.SHA256)
	}
	folder, err := Folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, p.SHA256, filepath.Base(p.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	// Written under another name and renamed: a half-written program must never be found, and
	// one that is running cannot be written to.
	partial, err := os.CreateTemp(filepath.Dir(path), "partial")
	if err != nil {
		return "", err
	}
	defer os.Remove(partial.Name())
	if _, err := partial.Write(text); err != nil {
		partial.Close()
		return "", fmt.Errorf("keeping %s (%d MB) in %s: %w", p.Name, len(text)>>20, folder, err)
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
