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

// At checks out a revision of the git repository that has the servers, into a new folder
// next to the built programs. [Base.Close] removes the folder.
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
	if b.Commit, err = git(ctx, top, nil, "rev-parse", "--verify", "--short=10", "--end-of-options", revision+"^{commit}"); err != nil {
		return b, explain.Hint(explain.Usage(err), "name a revision of %s: a commit, a branch or a tag (a shallow clone has few)", top)
	}
	within, err := filepath.Rel(top, servers)
	if err != nil {
		return b, err
	}
	bin, err := filepath.Abs(t.Bin) // git runs in another folder
	if err != nil {
		return b, err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return b, err
	}
	if b.folder, err = os.MkdirTemp(bin, "base-"); err != nil {
		return b, err
	}
	files := filepath.Join(b.folder, "tree")
	// An index of its own, so that the repository stays as it is.
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(b.folder, "index")}
	if _, err = git(ctx, top, index, "read-tree", b.Commit); err == nil {
		_, err = git(ctx, top, index, "checkout-index", "--all", "--prefix="+files+"/")
	}
	if err != nil {
		return b, errors.Join(err, b.Close())
	}
	b.tree = Tree{Servers: filepath.Join(files, within), Bin: t.Bin, Results: t.Results}
	return b, nil
}

// Close removes the checkout.
func (b Base) Close() error { return os.RemoveAll(b.folder) }

// Join returns each of the present choices after the base's choice of the same name, which
// [variant.Choice.At] renames. It leaves out the choices that the base lacks, and reports
// each of them to say.
func (b Base) Join(present []variant.Choice, say func(format string, args ...any)) (joined []variant.Choice, err error) {
	all, err := b.tree.Variants()
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", b.Commit, err)
	}
	for _, choice := range present {
		found, err := variant.Select(all, []string{choice.String()}, nil)
		if err != nil {
			say("%s is not in revision %s, and is left out", choice, b.Commit)
			continue
		}
		before := found[0].At(b.Commit)
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
