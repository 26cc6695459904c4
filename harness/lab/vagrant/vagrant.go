// Package vagrant is the lab of the virtual machines that vagrant/Vagrantfile
// describes: hosts that ssh reaches as Vagrant tells it to.
package vagrant

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/hosts"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

//go:embed README.md
var doc string

const name = "vagrant"

func init() {
	lab.Register(lab.Kind{Name: name, Form: name, About: "virtual machines that Vagrant makes, with kernels of their own", Doc: doc, Open: open})
}

// labFile is what `vagrant up` leaves in its folder: the hosts, all but the way to
// them.
const labFile = "lab.toml"

func open(ctx context.Context, o lab.Options) (lab.Site, error) {
	if o.Name != name {
		return nil, lab.Unknown(o.Name)
	}
	folder := os.Getenv("VAGRANT_CWD") // vagrant's own variable
	if folder == "" {
		folder = filepath.Join(o.Source, "vagrant")
	}
	file := filepath.Join(folder, labFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, explain.Hint(fmt.Errorf("there is no %s", file), "bring the machines up first: make vagrant-up")
	}
	f, err := hosts.Read(file)
	if err != nil {
		return nil, explain.Usage(err)
	}
	if f.SSHConfigText, err = askVagrant(ctx, folder); err != nil {
		return nil, err
	}
	return hosts.Open(f, o)
}

// patience bounds the question to Vagrant, which may be busy with its machines.
const patience = 5 * time.Minute

// askVagrant returns what Vagrant has to say to ssh. It is asked once, since it takes
// seconds to answer.
func askVagrant(ctx context.Context, folder string) ([]byte, error) {
	var stdout bytes.Buffer
	var said tail.Tail
	err := subprocess.Run(ctx, patience, func(c *exec.Cmd) {
		c.Dir, c.Stdout, c.Stderr = folder, &stdout, &said
	}, "vagrant", "ssh-config")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, explain.Hint(errors.New("vagrant is not installed: LAB=vagrant needs it"), "run scripts/setup.sh vagrant, as root")
	case err != nil && strings.Contains(said.String(), "not yet ready for SSH"):
		return nil, explain.Hint(errors.New("not all machines are up"), "make vagrant-up")
	case err != nil:
		return nil, fmt.Errorf("vagrant ssh-config: %w: %s", err, strings.Join(strings.Fields(said.String()), " "))
	}
	return stdout.Bytes(), nil
}
