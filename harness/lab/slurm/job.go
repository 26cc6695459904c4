package slurm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"connbench/harness/explain"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

// job is an allocation of nodes: one that we have made and end, or one within which we run.
type job struct {
	id string
	// components are the parts of a heterogeneous job, or the job itself.
	components []component
	binds      bool // the cluster binds tasks to CPUs

	salloc *exec.Cmd // nil where the job is not ours
	input  io.Closer // what salloc runs lives no longer than this is open
	said   tail.Tail // by salloc
	exited <-chan struct{}

	lock  sync.Mutex
	over  error // why the job has ended, nil while it has not
	ended chan error
}

// component is a part of a job, whose nodes have been chosen alike.
type component struct {
	id    string // of its own, which its prolog and epilog know
	group string // "" unless the job is heterogeneous
	nodes []string
}

// ready is the last line of what salloc prints for us when the nodes are there.
const ready = "ready"

// hold prints what the job is, and then waits for the end of its input, with which the job
// ends, however we do. It ends salloc too, which may hang when its job ends.
const hold = `env | grep "^SLURM_"; echo ` + ready + `; cat >/dev/null; scancel --quiet "$SLURM_JOB_ID"; kill -KILL "$PPID"`

// current is the job within which this process runs, nil if there is none.
func current(ctx context.Context) (*job, error) {
	id := os.Getenv("SLURM_JOB_ID")
	if id == "" {
		return nil, nil
	}
	environment := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	j := &job{ended: make(chan error, 1)}
	if err := j.read(ctx, environment); err != nil {
		return nil, err
	}
	// The variables may be older than the job.
	if err := j.ask(ctx); err != nil {
		return nil, explain.Hint(err, "unset SLURM_JOB_ID to have connbench make a job")
	}
	return j, nil
}

// allocate makes a job, and waits for its nodes.
func allocate(ctx context.Context, f File) (*job, error) {
	jobName := fmt.Sprintf("connbench-%d", os.Getpid())
	words := append(f.salloc(jobName), "/bin/sh", "-c", hold)
	j := &job{ended: make(chan error, 1), salloc: exec.Command(words[0], words[1:]...)}
	j.salloc.Env = outside()
	j.salloc.Stderr = &j.said
	j.salloc.WaitDelay = endPatience // what it has started may hold its output
	input, err := j.salloc.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := j.salloc.StdoutPipe()
	if err != nil {
		return nil, err
	}
	j.input = input
	// SIGINT ends the wait for nodes. Later it is ignored: the job ends with its input.
	if j.exited, err = subprocess.Start(j.salloc, syscall.SIGINT); err != nil {
		return nil, missing(err, words[0])
	}
	told := make(chan map[string]string, 1)
	go func() { told <- variables(output) }()
	late := time.NewTimer(f.wait())
	defer late.Stop()
	select {
	case environment := <-told:
		if environment == nil {
			j.close()
			why := plainly(j.said.String())
			if why == "" {
				why = "the job ended as it began: a prolog may have failed (sinfo --list-reasons)"
			}
			return nil, explain.Hint(fmt.Errorf("%s: no nodes: %s", f.name, why),
				"this must work: %s true", strings.Join(f.salloc("test"), " "))
		}
		if err = j.read(ctx, environment); err == nil {
			go j.watch()
			return j, nil
		}
	case <-late.C:
		reason := reasonOf(ctx, jobName)
		err = explain.Hint(fmt.Errorf("%s: the scheduler has not started the job within %s%s", f.name, f.wait(), reason),
			"ask for less in the lab file, or wait longer: wait_seconds")
	case <-ctx.Done():
		err = ctx.Err()
	}
	j.close()
	return nil, err
}

// variables are those that salloc prints, nil if it ends before.
func variables(output io.Reader) map[string]string {
	found := map[string]string{}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == ready {
			go io.Copy(io.Discard, output)
			return found
		}
		name, value, _ := strings.Cut(lines.Text(), "=")
		found[name] = value
	}
	return nil
}

// read finds out what a job consists of from the variables that Slurm sets in it.
func (j *job) read(ctx context.Context, environment map[string]string) error {
	j.id = environment["SLURM_JOB_ID"]
	add := func(id, group, list string) error {
		text, err := ask(ctx, "scontrol", "show", "hostnames", list)
		if err != nil {
			return err
		}
		j.components = append(j.components, component{id, group, strings.Fields(text)})
		return nil
	}
	if size := environment["SLURM_HET_SIZE"]; size != "" {
		for i := 0; ; i++ {
			list := environment[fmt.Sprintf("SLURM_JOB_NODELIST_HET_GROUP_%d", i)]
			if list == "" {
				break
			}
			if err := add(environment[fmt.Sprintf("SLURM_JOB_ID_HET_GROUP_%d", i)], fmt.Sprint(i), list); err != nil {
				return err
			}
		}
	} else if err := add(j.id, "", environment["SLURM_JOB_NODELIST"]); err != nil {
		return err
	}
	settings, err := ask(ctx, "scontrol", "show", "config")
	if err != nil {
		return err
	}
	for line := range strings.Lines(settings) {
		if name, value, _ := strings.Cut(line, "="); strings.TrimSpace(name) == "TaskPlugin" {
			j.binds = !strings.Contains(value, "none")
		}
	}
	return nil
}

// node is a node of the job: component number c, and its name.
type node struct {
	c    int
	name string
}

// nodes are all nodes of the job, the server's last: a batch script runs on the first.
func (j *job) nodes() (list []node) {
	for c, part := range j.components {
		for _, name := range part.nodes {
			list = append(list, node{c, name})
		}
	}
	return list
}

// sbcast is how sbcast calls a component: with the job's id alone it would serve all of them.
func (j *job) sbcast(c int) string {
	if group := j.components[c].group; group != "" {
		return j.id + "+" + group
	}
	return j.id
}

// srun is what runs a command in the job, beside others, without a limit of its own.
func (j *job) srun(c int, options ...string) []string {
	words := []string{"srun", "--quiet", "--jobid=" + j.id, "--overlap", "--mem=0", "--propagate=NONE"}
	if group := j.components[c].group; group != "" {
		words = append(words, "--het-group="+group)
	}
	if j.binds {
		words = append(words, "--cpu-bind=none")
	}
	return append(withoutJob(), append(words, options...)...)
}

// withoutJob has a command not see the job within which we may run: its variables are
// options of srun.
func withoutJob() (words []string) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "SLURM_") && name != "SLURM_CONF" {
			words = append(words, "-u", name)
		}
	}
	if len(words) > 0 {
		words = append([]string{"env"}, words...)
	}
	return words
}

// outside is our environment without the job within which we may run.
func outside() (list []string) {
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "SLURM_") || strings.HasPrefix(entry, "SLURM_CONF=") {
			list = append(list, entry)
		}
	}
	return list
}

// watch notes the end of salloc, which is that of the job.
func (j *job) watch() {
	<-j.exited
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	if j.ask(ctx) == nil { // it may be about to end
		j.end(fmt.Errorf("job %s has ended: %s", j.id, plainly(j.said.String())))
	}
}

// final are the states in which a job, or a component of it, has ended (squeue(1), "Job state
// codes").
var final = []string{
	"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
	"PREEMPTED", "REVOKED", "SPECIAL_EXIT", "TIMEOUT",
}

// ask asks the controller about the job: the error says why it has ended, nil if it runs, or
// if that cannot be found out.
func (j *job) ask(ctx context.Context) error {
	state, err := ask(ctx, "squeue", "--noheader", "--jobs="+j.id, "--states=all", "--format=%T")
	switch {
	case err != nil && strings.Contains(err.Error(), "Invalid job id"), err == nil && state == "":
		j.end(fmt.Errorf("job %s has ended", j.id))
	case err == nil:
		for state := range strings.Lines(state) { // one of each component
			switch state = strings.TrimSpace(state); {
			case state == "COMPLETING":
				j.end(fmt.Errorf("job %s has ended", j.id))
			case slices.Contains(final, state):
				j.end(fmt.Errorf("job %s has ended: %s", j.id, state))
			}
		}
	}
	j.lock.Lock()
	defer j.lock.Unlock()
	return j.over
}

// end notes why the job has ended.
func (j *job) end(why error) {
	j.lock.Lock()
	defer j.lock.Unlock()
	if j.over == nil {
		j.over = why
		j.ended <- why
	}
}

// endPatience is how long salloc may take to give the nodes back.
const endPatience = 15 * time.Second

// close ends the job if it is ours.
func (j *job) close() {
	if j.salloc == nil {
		return
	}
	j.input.Close()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		if j.components == nil { // nothing runs that its input could end
			j.salloc.Process.Signal(signal)
		}
		select {
		case <-j.exited:
			return
		case <-time.After(endPatience):
			j.salloc.Process.Signal(signal)
		}
	}
	<-j.exited
}

// askPatience bounds a question to the controller.
const askPatience = 30 * time.Second

// ask runs one of Slurm's commands, which asks the controller, and returns what it prints.
func ask(ctx context.Context, words ...string) (string, error) {
	return askFor(ctx, askPatience, words...)
}

// askFor is ask of a command that may take so long.
func askFor(ctx context.Context, patience time.Duration, words ...string) (string, error) {
	var output bytes.Buffer
	var said tail.Tail
	err := subprocess.Run(ctx, patience, func(c *exec.Cmd) { c.Stdout, c.Stderr, c.Env = &output, &said, outside() }, words...)
	switch {
	case err == nil:
		return output.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case said.String() != "":
		err = errors.New(plainly(said.String()))
	}
	return "", missing(fmt.Errorf("%s: %w", words[0], err), words[0])
}

// missing explains that a command of Slurm's is not here.
func missing(err error, name string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return explain.Hint(fmt.Errorf("%s is missing: a lab of kind slurm needs Slurm's commands", name),
			"start connbench where sinfo works, or run scripts/setup.sh slurm, as root")
	}
	return explain.Hint(err, "sinfo must work here")
}

// plainly is the line of what one of Slurm's commands has said that says most, without the
// command's name.
func plainly(said string) string {
	line := tail.Line(said)
	for each := range strings.Lines(said) {
		if strings.Contains(each, "error: ") {
			line = strings.TrimSpace(each)
		}
	}
	if _, rest, found := strings.Cut(line, "error: "); found {
		return rest
	}
	if _, rest, found := strings.Cut(line, ": "); found {
		return rest
	}
	return line
}

// reasonOf is the scheduler's own reason why a job waits.
func reasonOf(ctx context.Context, jobName string) string {
	reasons, err := ask(ctx, "squeue", "--noheader", "--name="+jobName, "--format=%r")
	if reason := strings.TrimSpace(reasons); err == nil && reason != "" && ctx.Err() == nil {
		reason, _, _ = strings.Cut(reason, "\n")
		return ": " + reason
	}
	return ""
}

// known are the addresses by which Slurm knows nodes.
func known(ctx context.Context, names []string) (map[string]netip.Addr, error) {
	if len(names) == 0 {
		return nil, nil
	}
	text, err := ask(ctx, "scontrol", "--oneliner", "show", "node", strings.Join(names, ","))
	if err != nil {
		return nil, err
	}
	found := map[string]netip.Addr{}
	for line := range strings.Lines(text) {
		values := map[string]string{}
		for _, field := range strings.Fields(line) {
			if name, value, set := strings.Cut(field, "="); set && values[name] == "" {
				values[name] = value
			}
		}
		address, err := netip.ParseAddr(values["NodeAddr"])
		if err != nil {
			list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", values["NodeAddr"])
			if err == nil {
				address, err = reachable(list)
			}
			if err != nil {
				return nil, explain.Hint(fmt.Errorf("node %s: %w", values["NodeName"], err), "say in the lab file which addresses are used: addresses of [server] and [client]")
			}
		}
		found[values["NodeName"]] = address.Unmap()
	}
	return found, nil
}

// reachable is the first of the addresses of a name that other nodes can reach: a name may
// mean a loopback address on the node itself (127.0.1.1 on Debian).
func reachable(list []netip.Addr) (netip.Addr, error) {
	i := slices.IndexFunc(list, func(a netip.Addr) bool { return !a.Unmap().IsLoopback() })
	if i < 0 {
		return netip.Addr{}, fmt.Errorf("its name means %s here, which no other node reaches", list[0].Unmap())
	}
	return list[i], nil
}
