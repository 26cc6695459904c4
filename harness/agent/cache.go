package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// keep is how long an unused program stays in the host's cache.
const keep = 14 * 24 * time.Hour

// cacheFolder is where programs that came over the pipe are kept: one folder a
// hash, so that the next run finds them.
func cacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	folder := filepath.Join(base, "connbench", "programs")
	return folder, os.MkdirAll(folder, 0o700)
}

// cached is the path of the program with this hash, "" if it is not there whole.
func cached(hash, name string) (string, error) {
	folder, err := cacheFolder()
	if err != nil {
		return "", err
	}
	prune(folder)
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
	now := time.Now()
	return path, os.Chtimes(filepath.Dir(path), now, now)
}

func prune(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > keep {
			os.RemoveAll(filepath.Join(folder, entry.Name()))
		}
	}
}

// incoming is a program that is on its way, piece by piece.
type incoming struct{ text bytes.Buffer }

// add appends a piece; after the last one it checks the hash, files the program
// and returns its path.
func (in *incoming) add(hash, name string, piece []byte, last bool) (string, error) {
	in.text.Write(piece)
	if !last {
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
		return "", fmt.Errorf("keeping %s in %s: %w", name, folder, err)
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
