package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/lab"
	"connbench/harness/lab/paper"
)

const sound = `
ssh_config = "config"
[[host]]
name = "server"
role = "server"
addresses = ["198.18.0.1", "198.18.0.2"]
cpus = [0, 1]
[[host]]
name = "client1"
role = "client"
ssh = "root@198.18.0.3"
sudo = true
addresses = ["198.19.1.0/24"]
packet = ["198.19.101.0/24"]
`

func write(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"hosts.toml": text, "config": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "hosts.toml")
}

func TestRead(t *testing.T) {
	file := write(t, sound)
	got, err := Read(file)
	want := File{
		name:      file,
		SSHConfig: filepath.Join(filepath.Dir(file), "config"),
		Hosts: []Host{
			{Name: "server", Role: "server", SSH: "server", Addresses: []string{"198.18.0.1", "198.18.0.2"}, CPUs: []int{0, 1}},
			{Name: "client1", Role: "client", SSH: "root@198.18.0.3", Sudo: true, Addresses: []string{"198.19.1.0/24"}, Packet: []string{"198.19.101.0/24"}},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{`sudo = true`, `sudo = yes`, "hosts.toml:12:"},
		{`sudo = true`, `sodo = true`, `hosts.toml:12:1: unknown key "host.sodo"`},
		{`name = "client1"`, `name = "../x"`, `hosts.toml:9: host[1].name: "../x" is not a name`},
		{`name = "client1"`, ``, `hosts.toml:8: host[1].name: "" is not a name`},
		{`name = "client1"`, `name = "server"`, `hosts.toml:9: host[1].name is "server", as another host's`},
		{`role = "client"`, `role = "victim"`, `hosts.toml:10: host[1].role is "victim": it is "server" or "client"`},
		{`role = "client"`, `role = "server"`, "hosts.toml:14: host[1].packet is for client hosts"},
		{`packet = ["198.19.101.0/24"]`, `packet = ["198.19.101.1/24"]`, `hosts.toml:14: host[1].packet: "198.19.101.1/24" has bits beyond its length`},
		{`packet = ["198.19.101.0/24"]`, `packet = ["198.19.101.1"]`, `packet has "198.19.101.1": it is an address, not a prefix`},
		{`packet = ["198.19.101.0/24"]`, `packet = ["elsewhere"]`, `packet: "elsewhere" is neither an address nor a prefix`},
		{`"198.18.0.2"]`, `"fe80::1%eth0"]`, `hosts.toml:6: host[0].addresses: "fe80::1%eth0" is link-local or has a zone`},
		{`sudo = true`, `via = ["podman", "exec"]`, "hosts.toml:12: host[1].via and ssh are two ways to the same host"},
		{`ssh = "root@198.18.0.3"`, `via = [""]`, "host[1].via begins with no program"},
		{`"root@198.18.0.3"`, `"-oProxyCommand=reboot"`, `host[1].ssh is "-oProxyCommand=reboot"`},
		{`"198.18.0.2"]`, `"198.18.0.0/30"]`, `host[0].addresses has "198.18.0.0/30": it is not the numeric address of a host`},
		{`"198.18.0.2"]`, `"server.example"]`, `host[0].addresses has "server.example": it is not the numeric address of a host`},
		{`["198.19.1.0/24"]`, `["198.19.1.7/24"]`, `host[1].addresses: "198.19.1.7/24" has bits beyond its length`},
		{`["198.19.1.0/24"]`, `["198.18.0.0/24"]`, "198.18.0.0/24 of host client1 is in 198.18.0.1 of host server"},
		{`["198.19.1.0/24"]`, `["fd00::/120"]`, "are of different versions of IP"},
		{`["198.18.0.1", "198.18.0.2"]`, `[]`, "hosts.toml:6: host[0].addresses is missing"},
		{`[0, 1]`, `[-1]`, "hosts.toml:7: host[0].cpus has -1: there is no such CPU"},
		{`"config"`, `"nosuch"`, "ssh_config: "},
	} {
		text := strings.Replace(sound, test.from, test.to, 1)
		if text == sound {
			t.Fatalf("%q is not there", test.from)
		}
		_, err := Read(write(t, text))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "hosts.toml:") {
			t.Errorf("%s: error %v, want %q", test.to, err, test.want)
		}
	}
	alone, _, _ := strings.Cut(sound, "[[host]]\nname = \"client1\"")
	if _, err := Read(write(t, alone)); err == nil || !strings.Contains(err.Error(), `host: none has role = "client"`) {
		t.Errorf("error %v", err)
	}
	if _, err := Read("/nonexistent/hosts.toml"); err == nil || err.Error() != "there is no file /nonexistent/hosts.toml" {
		t.Errorf("error %v", err)
	}
}

func TestOnPaper(t *testing.T) {
	got, err := onPaper(write(t, sound+"[[host]]\nname = \"client2\"\nrole = \"client\"\naddresses = [\"198.19.2.1\"]\ncpus = [0]\n"))
	want := paper.Lab{Clients: 2, Sources: 254 + 1, Targets: 2, Server: paper.Resources{Cores: 2}} // client1 may use all of its CPUs: how many, the file does not say
	if err != nil || got != want {
		t.Errorf("%+v, error %v", got, err)
	}
}

// Whatever a lab file holds, it is read or refused, and what is read can be opened.
func FuzzRead(f *testing.F) {
	f.Add(sound)
	f.Add("[[host]]\nname = \"server\"\nrole = \"server\"\nvia = [\"x\"]\naddresses = [\"::1\"]\n")
	folder := f.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config"), nil, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "hosts.toml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "\"config\"", fmt.Sprintf("%q", filepath.Join(folder, "config")))), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := Read(file)
		if err != nil {
			return
		}
		for _, engine := range control.Engines {
			site, err := Open(read, lab.Options{Engine: engine})
			if err != nil {
				continue
			}
			if specs := site.Hosts(); len(specs) != len(read.Hosts) {
				t.Errorf("%d hosts of %d", len(specs), len(read.Hosts))
			}
			site.Close()
		}
	})
}
