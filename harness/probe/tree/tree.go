// Package tree reads the small files in which a kernel shows what it knows, of this host
// or of a copy in some folder.
package tree

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Tree is the folder that has /proc, /sys and /etc: "/" for this host.
type Tree string

// Path is where the tree has a file, given by the elements of its path on the host.
func (t Tree) Path(elements ...string) string {
	return filepath.Join(append([]string{string(t)}, elements...)...)
}

// Text returns a file's content without the white space around it.
func (t Tree) Text(path string) (string, error) {
	content, err := os.ReadFile(t.Path(path))
	return strings.TrimSpace(string(content)), err
}

// Number returns the first number of a file.
func (t Tree) Number(path string) (int64, error) {
	content, err := t.Text(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(content, "\t", " "), " ")
	value, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", path, first)
	}
	return value, nil
}

// Pairs reads a file of lines "name value" and skips lines of another form.
func (t Tree) Pairs(path string) (map[string]int64, error) {
	file, err := os.Open(t.Path(path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	values := map[string]int64{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); err == nil {
			values[name] = value
		}
	}
	return values, lines.Err()
}
