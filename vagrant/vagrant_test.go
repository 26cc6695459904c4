// Package vagrant has the tests of the VMs' files that need no VM. Those that do are
// run by make test-vagrant.
package vagrant

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need skips a test where a program is missing.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: %v", program, err)
	}
}

func TestScriptsAreClean(t *testing.T) {
	need(t, "shellcheck")
	scripts := []string{"../.ci/run", "../.ci/test"}
	for _, pattern := range []string{"*.sh", "../scripts/*.sh"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		scripts = append(scripts, found...)
	}
	if output, err := exec.Command("shellcheck", scripts...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestVagrantfileIsRuby(t *testing.T) {
	need(t, "ruby")
	for _, file := range []string{"Vagrantfile", "settings.rb", "preflight.rb"} {
		if output, err := exec.Command("ruby", "-c", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	}
}

// validate runs vagrant validate with some settings in the environment.
func validate(t *testing.T, settings ...string) (string, error) {
	t.Helper()
	c := exec.Command("vagrant", "validate", "--no-color")
	home := t.TempDir()
	c.Env = append(os.Environ(), "VAGRANT_HOME="+home, "VAGRANT_DOTFILE_PATH="+filepath.Join(home, "state"), "VAGRANT_CHECKPOINT_DISABLE=1")
	c.Env = append(c.Env, settings...)
	output, err := c.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func TestVagrantfileIsValid(t *testing.T) {
	need(t, "vagrant")
	plugins, err := exec.Command("vagrant", "plugin", "list").Output()
	if err != nil || !strings.Contains(string(plugins), "vagrant-libvirt") {
		t.Skipf("needs the plugin vagrant-libvirt: error %v, there are %q", err, plugins)
	}
	for _, settings := range [][]string{nil, {"CLIENTS=3", "ADDRESSES=254", "SERVER_MEMORY=8192", "BOX=connbench-debian12"}} {
		if output, err := validate(t, settings...); err != nil {
			t.Errorf("%v: %v\n%s", settings, err, output)
		}
	}
}

// A bad setting is one line that names it and says what it may be.
func TestBadSettings(t *testing.T) {
	need(t, "vagrant")
	for _, test := range []struct{ setting, want string }{
		{"CLIENTS=none", `clients is "none": want a number from 1 to 100`},
		{"ADDRESSES=255", `addresses is "255": want a number from 1 to 254`},
		{"SERVER_MEMORY=4G", `server_memory is "4G": want a number`},
		{"PROVIDER=cloud", `provider is "cloud": want libvirt or virtualbox`},
		{"NETWORK=198.18.0.0/24", `network is "198.18.0.0/24": want an IPv4 /15`},
	} {
		output, err := validate(t, test.setting)
		if err == nil || !strings.HasPrefix(output, test.want) || strings.Contains(output, "\n") {
			t.Errorf("%s: error %v, output %q", test.setting, err, output)
		}
	}
}

// Who keeps Vagrant's state elsewhere, as the test of VMs does, has not asked to be
// rid of what is known of the user's own VMs.
func TestDestroyLeavesOtherState(t *testing.T) {
	for _, test := range []struct {
		state string
		left  bool
	}{{"", false}, {".vagrant", false}, {"elsewhere", true}} {
		dir := t.TempDir()
		if output, err := exec.Command("cp", "destroy.sh", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if err := os.Mkdir(filepath.Join(dir, ".vagrant"), 0o700); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(filepath.Join(dir, "destroy.sh"))
		// No libvirt is asked.
		c.Env = append(os.Environ(), "VAGRANT_DOTFILE_PATH="+test.state, "LIBVIRT_DEFAULT_URI=test:///missing")
		if output, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if _, err := os.Stat(filepath.Join(dir, ".vagrant")); (err == nil) != test.left {
			t.Errorf("state in %q: .vagrant left: %v, want %v", test.state, err == nil, test.left)
		}
	}
}
