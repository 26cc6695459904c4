package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connbench/harness/lab/paper"
)

const sound = `kind = "kubernetes"
context = "there"
namespace = "mine"
image = "busybox:1"
ready_seconds = 60
host_network = false
[server]
sysctls = { "net.core.somaxconn" = "4096" }
addresses = ["10.0.0.0/8"]
[clients]
count = 3
`

func TestMistakesAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k8s.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sound)
	if f, err := Read(file); err != nil || f.Clients.Count != 3 || f.Server.Sysctls["net.core.somaxconn"] != "4096" {
		t.Errorf("%+v, error %v", f, err)
	}
	write("kind = \"kubernetes\"\n")
	if f, err := Read(file); err != nil || f.Clients.Count != 1 || f.Image != defaultImage || f.ReadySeconds != defaultReadySeconds {
		t.Errorf("%+v, error %v", f, err)
	}
	for _, test := range []struct{ from, to, want string }{
		{`count = 3`, `count = 0`, "k8s.toml:11: clients.count is 0: it must be from 1 to 1000"},
		{`count = 3`, `count = "3"`, "k8s.toml:11:9: clients.count: "},
		{`count = 3`, `cuont = 3`, `k8s.toml:11:1: unknown key "clients.cuont"`},
		{`"mine"`, `"-mine"`, `k8s.toml:3: namespace is "-mine"`},
		{`"busybox:1"`, `"--privileged"`, `k8s.toml:4: image is "--privileged"`},
		{`ready_seconds = 60`, `ready_seconds = 0`, "k8s.toml:5: ready_seconds is 0"},
		{`host_network = false`, `host_network = true`, "k8s.toml:8: server.sysctls: with host_network they are the node's"},
		{`"net.core.somaxconn" =`, `"net.core; reboot" =`, `k8s.toml:8: server.sysctls has "net.core; reboot"`},
		{`"10.0.0.0/8"`, `"10.0.0.1/8"`, "k8s.toml:9: server.addresses: "},
		{`context = "there"`, `kubeconfig = "nosuch"`, "k8s.toml:2: kubeconfig: "},
	} {
		text := strings.Replace(sound, test.from, test.to, 1)
		if text == sound {
			t.Fatalf("%q is not there", test.from)
		}
		write(text)
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.to, err, test.want)
		}
	}
	if _, err := Read("/nonexistent/k8s.toml"); err == nil || err.Error() != "there is no file /nonexistent/k8s.toml" {
		t.Errorf("error %v", err)
	}
}

func TestOnPaper(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k8s.toml")
	read := func(text string) (paper.Lab, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte("kind = \"kubernetes\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return onPaper(file)
	}
	got, err := read(`[server]
requests = { cpu = "4", memory = "8Gi" }
limits = { memory = "16Gi" }
[clients]
count = 10
limits = { cpu = "500m", memory = "1.5G" }
sysctls = { "net.ipv4.ip_local_port_range" = "1024 65535" }
`)
	want := paper.Lab{
		Clients: 10, Sources: 10, Targets: 1, PortRange: "1024 65535",
		Server: paper.Resources{MemoryBytes: 16 << 30, Cores: 4}, Client: paper.Resources{MemoryBytes: 1_500_000_000, Cores: 0.5},
	}
	if err != nil || got != want {
		t.Errorf("%+v, error %v", got, err)
	}
	if got, err := read(""); err != nil || got != (paper.Lab{Clients: 1, Sources: 1, Targets: 1}) {
		t.Errorf("%+v, error %v", got, err)
	}
	for _, amount := range []string{"16gib", "Gi", "-1Gi", "1e99", "nan", "0"} {
		_, err := read("[clients]\nlimits = { memory = \"" + amount + "\" }\n")
		if want := file + `: clients.limits.memory: "` + amount + `" is no quantity such as 500m or 16Gi`; err == nil || err.Error() != want {
			t.Errorf("%s: error %v", amount, err)
		}
	}
}
