package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"connbench/harness/explain"
	"connbench/harness/naming"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
	"connbench/harness/variant"
)

// gitPatience bounds a git command.
const gitPatience = 5 * time.Minute

// Base is the servers as they were in a git revision.
type Base struct {
	// Commit is the revision's, abbreviated.
	Commit string
	tree   Tree
	folder string
}

// At writes the files of a git revision of the repository that has the servers into a
// folder next to the built programs. Close removes it.
func (t Tree) At(ctx context.Context, revision string) (b Base, err error) {
	servers, err := filepath.Abs(t.Servers)
	if err != nil {
		return b, err
	}
	if servers, err = filepath.EvalSymlinks(servers); err != nil {
		return b, explain.Usage(err)
	}
	top, err := git(ctx, servers, nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return b, explain.Hint(explain.Usage(err), "--base compares with a revision of the git repository that has the servers")
	}
	commit, err := git(ctx, top, nil, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return b, explain.Hint(explain.Usage(err), "name a revision of %s: a commit, a branch or a tag (a shallow clone has few)", top)
	}
	if b.Commit, err = git(ctx, top, nil, "rev-parse", "--short=10", commit); err != nil {
		return b, err
	}
	within, err := filepath.Rel(top, servers)
	if err != nil {
		return b, err
	}
	if err := os.MkdirAll(t.Bin, 0o755); err != nil {
		return b, err
	}
	if b.folder, err = os.MkdirTemp(t.Bin, "base-"); err != nil {
		return b, err
	}
	files := filepath.Join(b.folder, "tree")
	// An index of its own, so that the repository stays as it is.
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(b.folder, "index")}
	if _, err = git(ctx, top, index, "read-tree", commit); err == nil {
		_, err = git(ctx, top, index, "checkout-index", "--all", "--prefix="+files+"/")
	}
	if err != nil {
		return b, errors.Join(err, b.Close())
	}
	b.tree = Tree{Servers: filepath.Join(files, within), Bin: t.Bin, Results: t.Results}
	return b, nil
}

// Close removes the files.
func (b Base) Close() error { return os.RemoveAll(b.folder) }

// Join returns the choices of the present servers, each after the one of the base that
// has the same name: that is marked with the commit. say is told what only one of the two
// has, which is left out.
func (b Base) Join(present []variant.Choice, say func(format string, args ...any)) (joined []variant.Choice, err error) {
	all, err := b.tree.Variants()
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", b.Commit, err)
	}
	for _, choice := range present {
		before, found := choice.In(all)
		if !found {
			say("%s is not in revision %s, and is left out", choice, b.Commit)
			continue
		}
		before = before.At(b.Commit)
		if err := naming.Check("name", before.Name); err != nil {
			return nil, explain.Usage(err)
		}
		joined = append(joined, before, choice)
	}
	if len(joined) == 0 {
		return nil, explain.Usagef("revision %s has none of the servers that the plan measures", b.Commit)
	}
	return joined, nil
}

// git runs a git command in a folder, with more in its environment, and returns what it
// prints.
func git(ctx context.Context, dir string, environment []string, args ...string) (string, error) {
	var output bytes.Buffer
	var complaints tail.Tail
	err := subprocess.Run(ctx, gitPatience, func(c *exec.Cmd) {
		c.Dir = dir
		c.Env = append(os.Environ(), environment...)
		c.Stdout, c.Stderr = &output, &complaints
	}, append([]string{"git"}, args...)...)
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(complaints.Head()))
	}
	return strings.TrimSpace(output.String()), nil
}
