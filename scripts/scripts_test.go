// Package scripts has the tests of the scripts here, and of what CI runs.
package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"connbench/scripts/needs"
)

// run runs a script with nothing but the named tools in its path.
func run(t *testing.T, tools []string, script string, args ...string) (output string, status int) {
	t.Helper()
	path := t.TempDir()
	for _, tool := range tools {
		file, err := exec.LookPath(tool)
		if err != nil {
			t.Skip("needs a tool:", err)
		}
		if err := os.Symlink(file, filepath.Join(path, tool)); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(script, args...)
	c.Env = append(os.Environ(), "PATH="+path)
	text, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text)), c.ProcessState.ExitCode()
}

var shellTools = []string{"sh", "bash", "cat", "cut", "sort", "tr", "dirname"}

func TestSetupNamesWhatIsMissing(t *testing.T) {
	said, status := run(t, shellTools, "./setup.sh", "vagrant", "--check")
	if status != 1 || strings.Contains(said, "\n") || !strings.Contains(said, " qemu-img ") || !strings.HasSuffix(said, "run scripts/setup.sh vagrant, as root") {
		t.Errorf("exit status %d, said %q", status, said)
	}
}

func TestSetupPrintsPackages(t *testing.T) {
	said, status := run(t, shellTools, "./setup.sh", "--print", "vagrant")
	packages := strings.Fields(said)
	if status != 0 || len(packages) < 10 || packages[0] != "vagrant" || packages[1] != "vagrant-libvirt" || strings.ContainsRune(said, '/') {
		t.Errorf("exit status %d, said %q", status, said)
	}
}

func TestSetupRefuses(t *testing.T) {
	for _, test := range []struct {
		args   []string
		want   string
		status int
	}{
		{nil, "usage: ", 2},
		{[]string{"cloud"}, `unknown: "cloud"`, 2},
		{[]string{"vagrant", "--force"}, "usage: ", 2},
		{[]string{"vagrant", "tests"}, "usage: ", 2},
		{[]string{"vagrant"}, "there is no apt-get here: ", 1},
	} {
		if said, status := run(t, shellTools, "./setup.sh", test.args...); status != test.status || !strings.Contains(said, test.want) || strings.Contains(said, "\n") {
			t.Errorf("%v: exit status %d, said %q", test.args, status, said)
		}
	}
}

// Targets that need a lab's programs say in one line how to install them.
func TestTargetsNameSetup(t *testing.T) {
	for target, lab := range map[string]string{"vagrant-up": "vagrant", "test-vagrant": "vagrant", "test-kubernetes": "kubernetes", "test-slurm": "slurm"} {
		said, status := run(t, append(shellTools, "make"), "make", "--no-print-directory", "-C", "..", target)
		line, _, _ := strings.Cut(said, "\n") // make adds its own
		if status == 0 || !strings.Contains(line, "scripts/setup.sh "+lab) {
			t.Errorf("%s: exit status %d, said %q", target, status, said)
		}
	}
}

// CI fails if a part fails, including a set-up, and still runs the other parts.
func TestCIRunsEveryPart(t *testing.T) {
	for _, test := range []struct {
		setup, make string
		status      int
		want        []string
	}{
		{"exit 0", "true", 0, []string{"=== tests: passed in ", "=== lab vagrant: passed in ", "=== lab kubernetes: passed in ", "=== lab slurm: passed in ", "=== all passed in "}},
		{"exit 0", "false", 1, []string{"=== set-up for lab vagrant: passed in ", "=== failed: tests", "=== failed: lab vagrant", "=== failed: lab kubernetes", "=== failed: lab slurm"}},
		{"exit 7", "true", 1, []string{"=== set-up for the tests: FAILED after ", " s with status 7", "=== tests: passed in ", "=== failed: set-up for lab vagrant"}},
	} {
		tree := plant(t, map[string]string{
			"scripts/setup.sh": "#!/bin/sh\n" + test.setup + "\n",
			"Makefile":         "test test-vagrant test-kubernetes test-slurm:\n\t@" + test.make + "\n",
			".ci/run":          read(t, "../.ci/run"),
			".ci/test":         "#!/bin/sh\nmake test\n",
		})
		said, status := run(t, append(shellTools, "make", "timeout", "env", "true", "false"), filepath.Join(tree, ".ci", "run"))
		if status != test.status {
			t.Errorf("setup %q, make %q: exit status %d\n%s", test.setup, test.make, status, said)
		}
		for _, want := range test.want {
			if !strings.Contains(said, want) {
				t.Errorf("setup %q, make %q: %q is not in\n%s", test.setup, test.make, want, said)
			}
		}
	}
}

// CI's tests fail where make does, and where a test is skipped that no list excuses.
func TestCIKnowsSkips(t *testing.T) {
	const skipped = `{"Action":"skip","Package":"p","Test":"TestA"}`
	for name, test := range map[string]struct {
		make, list, want string
		status           int
	}{
		"all is well": {`echo '{"Action":"pass","Package":"p","Test":"TestA"}'`, "", "0 of them skipped", 0},
		"make fails":  {"exit 3", "", "0 tests ran", 1},
		"a skip":      {"echo '" + skipped + "'", "", "skipped: p.TestA", 1},
		"an excuse":   {"echo '" + skipped + "'", "p.TestA no VM", "(no VM)", 0},
	} {
		tree := plant(t, map[string]string{
			"Makefile":              "test:\n\t@" + test.make + "\n",
			".ci/test":              read(t, "../.ci/test"),
			".ci/skips":             test.list + "\n",
			"go.mod":                "module x\n\ngo 1.26\n",
			"scripts/skips/main.go": read(t, "skips/main.go"),
		})
		said, status := run(t, append(shellTools, "make", "go", "echo"), filepath.Join(tree, ".ci", "test"))
		if (status == 0) != (test.status == 0) || !strings.Contains(said, test.want) {
			t.Errorf("%s: exit status %d, said %s", name, status, said)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// plant writes files, which may all be run, into a new folder.
func plant(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	for file, text := range files {
		path := filepath.Join(tree, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// Git gives no revision of a checkout that belongs to somebody else, and Go builds nothing
// then if it is to note one: connbench is built without, and make says so.
func TestForeignCheckoutIsBuiltWithoutARevision(t *testing.T) {
	needs.Root(t) // to give a folder away
	const nobody = 65534
	for name, test := range map[string]struct {
		owner   int
		stamped bool
	}{"own": {0, true}, "somebody else's": {nobody, false}} {
		checkout := t.TempDir()
		for _, words := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit", "-q", "--allow-empty", "-m", "first"}} {
			if text, err := exec.Command("git", append([]string{"-C", checkout}, words...)...).CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", words, err, text)
			}
		}
		if err := os.Chown(checkout, test.owner, test.owner); err != nil {
			t.Fatal(err)
		}
		makefile, err := filepath.Abs("../Makefile")
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command("make", "-n", "-C", checkout, "-f", makefile, "build")
		c.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=", "GIT_CONFIG_SYSTEM=/dev/null")
		text, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if stamped := strings.Contains(string(text), "-buildvcs=true"); stamped != test.stamped {
			t.Errorf("%s: a revision is noted: %v\n%s", name, stamped, text)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for want, environment := range map[string][]string{
		"CONNBENCH_BASE must name the revision": {"CONNBENCH_BASE="},
		"there is no folder nowhere in ":        {"CONNBENCH_BASE=HEAD", "CONNBENCH_SERVERS=nowhere"},
	} {
		c := exec.Command("action/check.sh")
		c.Env = append(os.Environ(), environment...)
		text, err := c.CombinedOutput()
		if c.ProcessState == nil || c.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), want) {
			t.Errorf("%v: %v, %s", environment, err, text)
		}
	}
}

// The outputs of the action are those that its script writes, and the inputs those that it
// reads.
func TestActionFitsItsScripts(t *testing.T) {
	action, err := os.ReadFile("action/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var scripts string
	for _, file := range []string{"action/check.sh", "action/comment.sh"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts += string(text)
	}
	for _, match := range regexp.MustCompile(`steps\.check\.outputs\.(\w+) }}`).FindAllStringSubmatch(string(action), -1) {
		if !strings.Contains(scripts, "\noutput "+match[1]+" ") {
			t.Errorf("no script writes the output %s", match[1])
		}
	}
	for _, match := range regexp.MustCompile(`\n        (CONNBENCH_\w+):`).FindAllStringSubmatch(string(action), -1) {
		if !strings.Contains(scripts, match[1]) {
			t.Errorf("no script reads %s", match[1])
		}
	}
}

// A pull request has one comment, which is written anew by each run.
func TestCommentReplacesItsOwn(t *testing.T) {
	for earlier, want := range map[string]string{
		"":       "--method POST repos/o/n/issues/7/comments",
		"41\n42": "--method PATCH repos/o/n/issues/comments/41",
	} {
		dir := t.TempDir()
		comment, said := filepath.Join(dir, "comment.md"), filepath.Join(dir, "said")
		gh := "#!/bin/sh\ncase \"$*\" in *--paginate*) printf '%s' \"$EARLIER\" ;; *) echo \"$*\" > " + said + "; for last; do :; done; cat \"${last#body=@}\" >> " + said + " ;; esac\n"
		for file, text := range map[string]string{comment: "### connbench: fine\n", filepath.Join(dir, "gh"): gh} {
			if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.Command("action/comment.sh")
		c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "EARLIER="+earlier, "CONNBENCH_COMMENT="+comment, "CONNBENCH_PULL_REQUEST=7", "GH_REPO=o/n")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		text, err := os.ReadFile(said)
		if err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), "<!-- connbench -->\n### connbench: fine\n") {
			t.Errorf("earlier comments %q: gh got %s", earlier, text)
		}
	}
}
