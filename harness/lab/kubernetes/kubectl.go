package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"connbench/harness/explain"
	"connbench/harness/subprocess"
)

// kubectl is the user's own, with the cluster and the namespace that the lab names.
type kubectl struct{ words []string }

func (f File) kubectl() kubectl {
	words := []string{"kubectl"}
	for flag, value := range map[string]string{"kubeconfig": f.Kubeconfig, "context": f.Context, "namespace": f.Namespace} {
		if value != "" {
			words = append(words, "--"+flag+"="+value)
		}
	}
	slices.Sort(words[1:])
	return kubectl{words}
}

// command is kubectl with arguments.
func (k kubectl) command(args ...string) []string { return append(slices.Clone(k.words), args...) }

// What bounds a question to the API server: kubectl's flag, which says so the best, and
// the time of one that takes the server longer.
const (
	requestTimeout = "--request-timeout=20s"
	patience       = time.Minute
)

// run runs kubectl and returns what it prints, also before it fails; input may be nil.
func (k kubectl) run(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	words := k.command(args...)
	err := subprocess.Run(ctx, patience, func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &stdout, &stderr
	}, words...)
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return stdout.Bytes(), ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, explain.Hint(errors.New("kubectl is missing here: a lab of kind kubernetes needs it"), "install it, or put it into PATH")
	}
	if said := sentence(stderr.String()); said != "" {
		err = errors.New(said)
	}
	err = fmt.Errorf("kubectl: %w", err)
	if strings.Contains(err.Error(), "(Forbidden)") {
		return stdout.Bytes(), explain.Hint(err, "the rights that this takes are in harness/lab/kubernetes/README.md")
	}
	return stdout.Bytes(), explain.Hint(err, "this must work: %s", strings.Join(k.command("get", "pods"), " "))
}

// get decodes objects of the API.
func (k kubectl) get(ctx context.Context, into any, args ...string) error {
	text, err := k.run(ctx, nil, append([]string{requestTimeout, "get", "--output=json"}, args...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("kubectl get: %w", err)
	}
	return nil
}

// logged begins a line of Kubernetes' log (klog), which kubectl writes next to what it has
// to say.
var logged = regexp.MustCompile(`^[IWEF][0-9]{4} `)

// sentence is what kubectl says, in one line.
func sentence(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || logged.MatchString(line) || strings.HasPrefix(line, "Warning: ") {
			continue
		}
		said = append(said, line)
	}
	text = strings.TrimPrefix(strings.Join(said, " "), "error: ")
	text = strings.TrimPrefix(text, `error validating "STDIN": error validating data: `)
	text, _, _ = strings.Cut(text, "; if you choose to ignore these errors") // no, they are our own
	return strings.Replace(text, `error when creating "STDIN": `, "", 1)
}
