package main

import (
	"strings"
	"testing"

	"connbench/harness/phase/comebacks"
	"connbench/harness/record"
	"connbench/scripts/needs"
)

// A server that speaks TCP itself is measured where the lab gives it a device: with a swarm
// that does so too, and with kernel sockets on another host. What the kernel cannot count is
// said.
func TestServerWithADevice(t *testing.T) {
	needs.Namespaces(t)
	needTUN(t)
	for _, test := range [][3]string{{"netns", "packet", "userspace"}, {"netns-1-ipv6", "socket", "userspace,floor"}} {
		t.Run(test[0]+" "+test[1], func(t *testing.T) {
			c := benchTest(t, strings.Replace(brief, "rounds = 3", "rounds = 1", 1)+"[restart]\nseconds = 20\n", "--servers", "../../servers", "--variants", test[2], "--lab", test[0], "--engine", test[1])
			if status := c.exit(t); status != 0 {
				t.Fatalf("exit status %d\n%s", status, c.stderr.String())
			}
			run := c.run(t)
			for _, trial := range run.Trials {
				census := trial.Connections.Census
				said := strings.Contains(strings.Join(trial.Warnings, "\n"), "the kernel has no sockets of its connections")
				switch own := trial.Variant == "userspace"; {
				case !trial.Valid || *census.Swarm != 300 || *census.Server != 300:
					t.Errorf("%s: census %+v, invalid %v", trial.Variant, census, trial.Invalid)
				case own && (census.Kernel != nil || !said || trial.Device != "tun" || trial.ServerProcesses != 1):
					t.Errorf("census %+v, device %q, %d processes, warnings %q", census, trial.Device, trial.ServerProcesses, trial.Warnings)
				case !own && (census.Kernel == nil || *census.Kernel != 300 || said || trial.Device != ""):
					t.Errorf("%s: census %+v, device %q, warnings %q", trial.Variant, census, trial.Device, trial.Warnings)
				}
				if trial.Variant == "userspace" && test[1] == "packet" && kernelSockets(trial.Steps) {
					t.Errorf("the kernel's sockets grow with the connections: %+v", trial.Steps)
				}
				leftOut := strings.Contains(strings.Join(trial.Warnings, "\n"), "restart: left out: the server speaks TCP itself")
				if restart := comebacks.Restart.Of(&trial); (restart == nil) != leftOut || leftOut != (trial.Variant == "userspace") {
					t.Errorf("%s: restart %+v, warnings %q", trial.Variant, restart, trial.Warnings)
				}
			}
			i := 0
			if run.Manifest.Variants[i].Name != "userspace" {
				i = 1
			}
			if v := run.Manifest.Variants[i]; v.Device != "tun" || v.Conforms == nil || !*v.Conforms {
				t.Errorf("variant %+v", v)
			}
			if out := c.stdout.String(); !strings.Contains(out, "no kernel sockets: the server runs its own TCP") {
				t.Errorf("the tables do not say it:\n%s", out)
			}
		})
	}
}

// kernelSockets reports whether the kernel has as many sockets more at each point of a ramp as
// there are connections, or nearly: other programs may open some meanwhile.
func kernelSockets(steps []record.Step) bool {
	const few = 16
	points := 0
	for _, step := range steps {
		if step.Connections == 0 || step.ForeignSockets == nil {
			continue
		}
		points++
		if grew := *step.ForeignSockets - int64(step.Connections); grew < -few || grew > few {
			return false
		}
	}
	return points > 0
}

// A lab without devices leaves such a server out, and says what has some.
func TestLabWithoutDevices(t *testing.T) {
	needTUN(t)
	c := benchTest(t, brief, "--servers", "../../servers", "--variants", "userspace", "--lab", "local")
	if status := c.exit(t); status != 2 || !strings.Contains(c.stderr.String(), "userspace is left out: it needs a tun device, which lab local does not have (LAB=netns has)") || !strings.Contains(c.stderr.String(), "hint: use LAB=netns") {
		t.Errorf("exit status %d\n%s", status, c.stderr.String())
	}
}
