package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"connbench/harness/tail"
)

// vagrantName is the lab of the virtual machines that vagrant/Vagrantfile
// describes.
const vagrantName = "vagrant"

// vagrantLab is the file that `vagrant up` leaves in its folder: the hosts, all
// but the way to them, which `vagrant ssh-config` tells.
const vagrantLab = "lab.toml"

// askVagrant keeps in a file what Vagrant tells ssh. It is asked once, since it
// takes seconds to answer.
func (r *remote) askVagrant(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "vagrant", "ssh-config")
	command.Dir = r.tools.Vagrant
	// A group of its own: Ctrl-C is for the harness.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout bytes.Buffer
	var said tail.Tail
	command.Stdout, command.Stderr = &stdout, &said
	err := command.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("vagrant is not installed: LAB=vagrant needs it")
	case err != nil && strings.Contains(said.String(), "not yet ready for SSH"):
		return "", errors.New("not all machines are up: make vagrant-up")
	case err != nil:
		return "", fmt.Errorf("vagrant ssh-config: %w: %s", err, strings.Join(strings.Fields(said.String()), " "))
	}
	file := filepath.Join(r.folder, "ssh-config")
	return file, os.WriteFile(file, stdout.Bytes(), 0o600)
}
