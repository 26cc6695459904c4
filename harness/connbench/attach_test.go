package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connbench/harness/build"
	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/scripts/needs"
	"connbench/servers/contract/certificate"
)

// stranger is a server that speaks no contract and is started by hand.
type stranger struct {
	*exec.Cmd
	port  string
	empty int // see connections
}

// startStranger starts a command that prints the port, or the contract's ready line, on a
// line of its own.
func startStranger(t *testing.T, command ...string) *stranger {
	t.Helper()
	s := &stranger{Cmd: exec.Command(command[0], command[1:]...)}
	s.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	s.Stderr = &stderr
	input, err := s.StdinPipe() // a server of the contract ends with its input
	if err != nil {
		t.Fatal(err)
	}
	output, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		s.Process.Kill()
		s.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, stderr.String())
	}
	s.port = strings.TrimSpace(line)
	var ready struct{ Addresses []string }
	if json.Unmarshal([]byte(line), &ready) == nil && len(ready.Addresses) > 0 {
		_, s.port, err = net.SplitHostPort(ready.Addresses[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// url is where it is.
func (s *stranger) url(path string) string { return "ws://127.0.0.1:" + s.port + path }

// attached is a run of connbench attach.
type attached struct {
	run    *record.Run
	status int
	said   string // on standard output and error
}

// trial is the trial of the attached server.
func (a attached) trial(t *testing.T) *record.Trial {
	t.Helper()
	if a.run == nil {
		t.Fatalf("exit status %d, and no run: %s", a.status, a.said)
	}
	i := slices.IndexFunc(a.run.Trials, func(tr record.Trial) bool { return tr.Class == record.ClassAttached })
	if i < 0 {
		t.Fatalf("exit status %d, and no trial of the server: %s", a.status, a.said)
	}
	return &a.run.Trials[i]
}

// attachTo runs connbench attach with few connections and without the floor, unless the
// arguments say otherwise.
func attachTo(t *testing.T, args ...string) attached {
	t.Helper()
	return attachWith(t, func(*exec.Cmd) {}, args...)
}

// attachWith changes the command before it is run.
func attachWith(t *testing.T, change func(*exec.Cmd), args ...string) attached {
	t.Helper()
	return attachUntil(t, t.Context(), change, args...)
}

// attachUntil interrupts the command when ctx ends.
func attachUntil(t *testing.T, ctx context.Context, change func(*exec.Cmd), args ...string) attached {
	t.Helper()
	results := t.TempDir()
	all := append([]string{"attach", "--results", results, "--bin", bin(t), "--connections", "200", "--steps", "5", "--hold", "0.2", "--seconds", "1", "--no-floor"}, args...)
	c := exec.CommandContext(ctx, filepath.Join(bin(t), "connbench"), all...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	change(c)
	output, err := c.CombinedOutput()
	a := attached{status: statusOf(t, err), said: string(output)}
	runs, _ := filepath.Glob(filepath.Join(results, "*", record.ManifestFile))
	if len(runs) == 1 {
		if a.run, err = folder.Open(filepath.Dir(runs[0])); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// whole checks that all connections were held and that a plan's loads were carried.
func (a attached) whole(t *testing.T) *record.Trial {
	t.Helper()
	tr := a.trial(t)
	if a.status != 0 || !tr.Valid || tr.Connections.Reached != 200 || tr.Stop.Reason != cause.Target.Reason {
		t.Fatalf("exit status %d, %d connections, stopped by %s, invalid: %q\n%s", a.status, tr.Connections.Reached, tr.Stop.Reason, tr.Invalid, a.said)
	}
	if rss := tr.PerConnection.RSSBytes; rss == nil {
		t.Error("RSS per connection was not measured")
	}
	return tr
}

// chat starts the chat, with its library from npm.
func chat(t *testing.T) *stranger {
	t.Helper()
	needs.Server(t)
	needs.Tools(t, "node", "npm")
	folder := t.TempDir()
	for _, name := range []string{"chat.mjs", "package.json"} {
		text, err := os.ReadFile(filepath.Join("testdata/strangers", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--silent")
	install.Dir = folder
	if output, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, output)
	}
	return startStranger(t, "node", filepath.Join(folder, "chat.mjs"))
}

// A chat greets, pings, and sends everybody's messages to others: none of it is corrupt.
func TestAttachToAChat(t *testing.T) {
	t.Parallel()
	s := chat(t)
	tr := attachTo(t, s.url("/chat"), "--say", `{"n":{n}}`, "--expect", `^\{"you":`).whole(t)
	if say := loads.Say.Of(tr); say == nil || say.Delivered == 0 || say.Corrupt != 0 || *say.Unanswered != 0 {
		t.Errorf("the questions: %+v", say)
	}
	if ping := loads.Ping.Of(tr); ping == nil || ping.Delivered == 0 {
		t.Errorf("the pings: %+v", ping)
	}
	if tr.Variant != "node" || tr.Title != s.url("/chat") {
		t.Errorf("it is called %s, %s", tr.Variant, tr.Title)
	}
	// A wrong path is the server's to refuse, and its answer is told.
	a := attachTo(t, s.url("/nowhere"))
	tr = a.trial(t)
	if a.status != 1 || tr.Stop.Reason != cause.Rejected.Reason || !slices.ContainsFunc(tr.Stop.Evidence, func(e string) bool { return strings.Contains(e, "HTTP status 404") }) {
		t.Errorf("exit status %d, stopped by %s: %q", a.status, tr.Stop.Reason, tr.Stop.Evidence)
	}
}

// python is the interpreter that has Debian's packages.
const python = "/usr/bin/python3"

func needsWebsockets(t *testing.T) {
	t.Helper()
	needs.Server(t)
	needs.File(t, "/usr/lib/python3/dist-packages/websockets", "Python's websockets")
}

// A server that only pushes is measured by pings, and by what it sends.
func TestAttachToAServerThatPushes(t *testing.T) {
	t.Parallel()
	needsWebsockets(t)
	s := startStranger(t, python, "testdata/strangers/push.py")
	tr := attachTo(t, s.url("/"), "--listen", "2", "--seconds", "0").whole(t)
	l := loads.Listen.Of(tr)
	if l == nil || l.Messages == 0 || l.Bytes != 10*l.Messages || l.Lost != 0 {
		t.Errorf("listened: %+v", l)
	}
}

// Tokens of each connection, and a subprotocol.
func TestAttachToAServerThatWantsTokens(t *testing.T) {
	t.Parallel()
	needsWebsockets(t)
	s := startStranger(t, python, "testdata/strangers/wants_token.py")
	var tokens strings.Builder
	for i := range 200 {
		fmt.Fprintf(&tokens, "Bearer token-of-%d\n", i)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(tokens.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	a := attachTo(t, s.url("/"), "--subprotocol", "chat.v2", "--header-file", "Authorization: "+file, "--echo")
	if echo := loads.Echo.Of(a.whole(t)); echo == nil || echo.Delivered == 0 || echo.Corrupt != 0 {
		t.Errorf("the echoes: %+v", echo)
	}
	// The number of the connection makes other tokens. Those of before are used up.
	a = attachTo(t, s.url("/?secret"), "--subprotocol", "chat.v2", "--header", "Authorization: Bearer token-{n}")
	a.whole(t)
	manifest, err := os.ReadFile(filepath.Join(a.run.Dir, record.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(manifest); strings.Contains(text, "secret") || strings.Contains(text, "Bearer") || strings.Contains(text, "chat.v2") || !strings.Contains(text, "--subprotocol") {
		t.Errorf("the manifest has what is secret, or not what is not: %s", a.run.Manifest.Command)
	}
	if tr := attachTo(t, s.url("/"), "--subprotocol", "chat.v2").trial(t); !slices.ContainsFunc(tr.Stop.Evidence, func(e string) bool { return strings.Contains(e, "HTTP status 401, ") }) {
		t.Errorf("stopped by %s: %q", tr.Stop.Reason, tr.Stop.Evidence)
	}
}

// byHand is a variant of ours, built to be started by hand.
func byHand(t *testing.T, name string) string {
	t.Helper()
	bin(t)
	tree, err := build.Find(build.Tree{Servers: "../../servers", Bin: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	choices, err := tree.Choose([]string{name}, []string{"tuned"})
	if err != nil {
		t.Fatal(err)
	}
	programs, err := tree.Build(t.Context(), choices, "amd64", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return programs[0].Path
}

// startNginx starts nginx with two workers, and what is to be at the location /.
func startNginx(t *testing.T, location string) (nginx *exec.Cmd, port int) {
	t.Helper()
	needs.Tools(t, "nginx")
	folder, port := t.TempDir(), freePort(t)
	config := filepath.Join(folder, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen 127.0.0.1:%[2]d; location / { %[3]s } } }
`, folder, port, location)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	nginx = exec.Command("nginx", "-e", "stderr", "-c", config)
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nginx.Process.Signal(syscall.SIGTERM) // it ends its workers
		nginx.Wait()
	})
	awaitListener(t, port)
	return nginx, port
}

// A proxy in front is measured with the server behind it.
func TestAttachToAProxy(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	behind := startStranger(t, byHand(t, "goroutine"))
	nginx, port := startNginx(t, fmt.Sprintf(`proxy_pass http://127.0.0.1:%s; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";`, behind.port))
	a := attachTo(t, fmt.Sprintf("ws://127.0.0.1:%d/", port), "--pid", strconv.Itoa(nginx.Process.Pid), "--pid", strconv.Itoa(behind.Process.Pid), "--echo")
	tr := a.whole(t)
	if tr.ServerProcesses != 4 { // nginx's master and two workers, and the server
		t.Errorf("%d processes were measured", tr.ServerProcesses)
	}
	last := tr.Steps[len(tr.Steps)-1]
	if grown := *last.Descriptors - *tr.Steps[0].Descriptors; grown < 600 { // two of the proxy, one of the server
		t.Errorf("%d descriptors came with 200 connections", grown)
	}
	if kernel, _ := figure.Kernel.Value(tr); kernel != nil && *kernel < 10_000 { // of four ends; other tests may hide them
		t.Errorf("kernel bytes per connection are %.0f", *kernel)
	}
}

// A web server's connections are kept: each answers GETs.
func TestAttachToAWebServer(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	nginx, port := startNginx(t, `return 200 "hello";`)
	a := attachTo(t, fmt.Sprintf("http://127.0.0.1:%d/page?n={n}", port), "--pid", strconv.Itoa(nginx.Process.Pid))
	tr := a.whole(t)
	if tr.Protocol != "http" || tr.ServerProcesses != 3 {
		t.Errorf("protocol %q, %d processes", tr.Protocol, tr.ServerProcesses)
	}
	if ping := loads.Ping.Of(tr); ping == nil || ping.Delivered == 0 || *ping.Unanswered > 0 {
		t.Errorf("requests: %+v", ping)
	}
}

// awaitListener waits until somebody listens on a port of this machine.
func awaitListener(t *testing.T, port int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The server's own limit ends the ramp, is named, and so is what raises it.
func TestAttachToAServerWithFewDescriptors(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	s := startStranger(t, "sh", "-c", `ulimit -n 100; exec "$0"`, byHand(t, "gobwas"))
	tr := attachTo(t, s.url("/"), "--echo", "--rate", "200").trial(t)
	if tr.Stop.Reason != cause.ServerDescriptors.Reason || tr.Connections.Peak < 80 || tr.Connections.Peak > 100 {
		t.Errorf("stopped by %s at %d: %q", tr.Stop.Reason, tr.Connections.Peak, tr.Stop.Evidence)
	}
	if err := s.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the server is gone: %v", err)
	}
}

// A server started by hand costs what the trial of the same server says. It is one that makes
// little garbage: how much of that lies about is a matter of when it is collected.
func TestAttachAgreesWithTheTrial(t *testing.T) {
	needs.Server(t)
	s := startStranger(t, byHand(t, "gobwas"))
	a := attachTo(t, s.url("/"), "--connections", "2000", "--echo", "--seconds", "0")
	tr := a.trial(t)
	rss, doubt := figure.RSS.Value(tr)
	if !tr.Valid || rss == nil {
		t.Fatalf("valid %v (%q), RSS %v (%s)", tr.Valid, tr.Invalid, rss, doubt)
	}
	run := benchOf(t, "../../servers", "title = \"The same\"\nvariants = [\"gobwas\"]\nconnections = 2000\nkeep_noisy = true\n[ramp]\nsteps = 5\nrate_per_second = 500\nsettled = false\npause_seconds = 0.3\n")
	if status := run.exit(t); status != 0 {
		t.Fatalf("exit status %d: %s", status, run.stderr.String())
	}
	want, doubt := figure.RSS.Value(&run.run(t).Trials[0])
	if want == nil {
		t.Fatalf("the trial has no RSS: %s", doubt)
	}
	if ratio := *rss / *want; ratio < 0.9 || ratio > 1.1 {
		t.Errorf("attached it costs %.0f bytes per connection, in a trial %.0f", *rss, *want)
	}
}

// A server with TLS is measured over TLS, if its certificate is the right one.
func TestAttachOverTLS(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	folder := t.TempDir()
	server, authority, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	key, ca := filepath.Join(folder, "server.pem"), filepath.Join(folder, "ca.pem")
	for file, text := range map[string][]byte{key: server, ca: authority} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startStranger(t, byHand(t, "goroutine"), "--listen", "127.0.0.1:0", "--tls", key)
	url := "wss" + strings.TrimPrefix(s.url("/"), "ws")
	a := attachTo(t, url, "--ca", ca, "--server-name", certificate.ServerName, "--echo")
	if echo := loads.Echo.Of(a.whole(t)); echo == nil || echo.Delivered == 0 || echo.Corrupt != 0 {
		t.Errorf("the echoes: %+v", echo)
	}
	for _, wrong := range [][]string{{url, "--ca", ca}, {url, "--server-name", certificate.ServerName}} {
		if tr := attachTo(t, wrong...).trial(t); tr.Stop.Reason != cause.TLSRefused.Reason || !slices.ContainsFunc(tr.Stop.Evidence, func(e string) bool { return strings.Contains(e, "bad certificate") }) {
			t.Errorf("%v: stopped by %s: %q", wrong, tr.Stop.Reason, tr.Stop.Evidence)
		}
	}
}

// Mistakes are told before anything is connected to.
func TestAttachMistakes(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"ws://127.0.0.1:9/"}, "127.0.0.1:9"},
		{[]string{"ftp://127.0.0.1:9/"}, "http://HOST:PORT/PATH for HTTP"},
		{[]string{"ws://127.0.0.1:9/", "--server-name", "x"}, "--ca and --server-name are for TLS"},
		{[]string{"wss://127.0.0.1:9/", "--ca", "/no/such/file"}, "--ca: "},
		{[]string{"wss://127.0.0.1:9/", "--ca", "/dev/null"}, "no certificate in PEM"},
		{[]string{"http://127.0.0.1:9/", "--listen", "3"}, "are for WebSocket"},
		{[]string{"https://127.0.0.1:9/", "--subprotocol", "chat"}, "are for WebSocket"},
		{[]string{"127.0.0.1:9"}, "write ws://HOST:PORT/PATH"},
		{[]string{"ws://user:secret@127.0.0.1:9/"}, "user and password are not taken"},
		{[]string{"ws://127.0.0.1:9/#x"}, "never sees a fragment"},
		{[]string{"ws://198.51.100.7:9/"}, "--i-own-this-server 198.51.100.7"},
		{[]string{"ws://chat.default.svc/", "--pods", "app=chat"}, "add --lab FILE.toml"},
		{[]string{"ws://chat.default.svc/", "--pods", "app=chat", "--lab", "local"}, "is of kind local: it has no pods"},
		{[]string{"ws://127.0.0.1:9/", "--pid", "999999"}, "999999"},
		{[]string{"ws://127.0.0.1:9/", "--pid", "1", "--process", "x"}, "take one of them"},
		{[]string{"ws://127.0.0.1:9/", "--echo", "--say", "x", "--expect", "y"}, "--echo and --say"},
		{[]string{"ws://127.0.0.1:9/", "--say", "x"}, "--expect"},
		{[]string{"ws://127.0.0.1:9/", "--header", "no colon"}, "has no colon"},
		{[]string{"ws://127.0.0.1:9/", "--header", "Upgrade: x"}, "Upgrade"},
		{[]string{"ws://127.0.0.1:9/", "--header-file", "X: /nonexistent"}, "/nonexistent"},
		{[]string{"ws://127.0.0.1:9/", "--rate", "0"}, "--rate"},
		{[]string{"ws://127.0.0.1:9/", "--connections", "max"}, "max"},
	} {
		a := attachTo(t, test.args...)
		if a.status != 2 || a.run != nil || !strings.Contains(a.said, test.want) {
			t.Errorf("%v: exit status %d, said %q, want %q", test.args, a.status, a.said, test.want)
		}
	}
}

// What watch sees from outside is what attach measures, and it ends with the server.
func TestWatch(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	s := startStranger(t, byHand(t, "gobwas")) // whose memory hardly varies with its garbage
	var output bytes.Buffer
	watch := exec.Command(filepath.Join(bin(t), "connbench"), "watch", "--url", s.url("/"), "--bin", bin(t), "--every", "200ms", "--json")
	watch.Stdout, watch.Stderr = &output, os.Stderr
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	tr := attachTo(t, s.url("/"), "--connections", "1500", "--rate", "300", "--seconds", "0").trial(t)
	s.Process.Kill()
	if status := statusOf(t, watch.Wait()); status != 0 {
		t.Fatalf("exit status %d: %s", status, output.String())
	}
	most, slope := int64(0), 0.0
	for decoder := json.NewDecoder(&output); decoder.More(); {
		var sample watchSample
		if err := decoder.Decode(&sample); err != nil {
			t.Fatal(err)
		}
		if sample.Connections > most { // later ones have the memory of closed connections
			most = sample.Connections
			if sample.RSS != nil {
				slope = sample.RSS.Bytes
			}
		}
	}
	if most < 1400 || most > 1500 {
		t.Errorf("at most %d connections were seen, of 1500", most)
	}
	if rss := tr.PerConnection.RSSBytes; rss == nil || slope < 0.6**rss || slope > 1.6**rss {
		t.Errorf("%.0f bytes per connection were seen from outside, %v measured", slope, *rss)
	}
}

// watchSample is what watch prints.
type watchSample struct {
	Connections int64 `json:"connections"`
	RSS         *struct {
		Bytes float64 `json:"bytes"`
	} `json:"rss_per_connection"`
}

// The limits of a running server are those of its process, and nothing is connected to.
func TestLimitsOfARunningServer(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	s := startStranger(t, "sh", "-c", `ulimit -n 100; exec "$0"`, byHand(t, "gobwas"))
	for _, args := range [][]string{{"--url", s.url("/")}, {"--pid", strconv.Itoa(s.Process.Pid)}} {
		c := exec.Command(filepath.Join(bin(t), "connbench"), append([]string{"limits", "--bin", bin(t), "--connections", "500"}, args...)...)
		output, err := c.CombinedOutput()
		text := strings.Join(strings.Fields(string(output)), " ")
		for _, want := range []string{"(RLIMIT_NOFILE = 100) ◀ first", fmt.Sprintf("in use by process %d", s.Process.Pid), "prlimit --pid", "500 connections do not fit"} {
			if statusOf(t, err) != 1 || !strings.Contains(text, want) {
				t.Errorf("%v: exit status %d, said %q, want %q", args, statusOf(t, err), text, want)
			}
		}
	}
}

// A lab file says where server and clients are: here on hosts that ssh reaches.
func TestAttachInALab(t *testing.T) {
	t.Parallel()
	f := startSSHHosts(t, "", false)
	server := f.hosts[0]
	s := startStranger(t, "nsenter", "-t", strconv.Itoa(server.pid), "-n", "--", byHand(t, "gobwas"), "--listen", server.address+":0")
	url := "ws://" + net.JoinHostPort(server.address, s.port) + "/"
	tr := attachWith(t, f.at, url, "--lab", f.file("hosts.toml"), "--echo").whole(t)
	if tr.Lab != "hosts" || tr.ClientProcesses < 2 {
		t.Errorf("in lab %q, %d client processes", tr.Lab, tr.ClientProcesses)
	}
	// From a host that nobody has called the server's, it takes a word of the caller. The
	// server's own figures then are unknown.
	a := attachWith(t, f.at, url, "--echo")
	if a.run != nil || a.status != 2 || !strings.Contains(a.said, "--i-own-this-server "+server.address) {
		t.Errorf("exit status %d: %s", a.status, a.said)
	}
	tr = attachWith(t, f.at, url, "--echo", "--i-own-this-server", server.address).trial(t)
	if echo := loads.Echo.Of(tr); !tr.Valid || tr.Connections.Reached != 200 || echo == nil || echo.Delivered == 0 {
		t.Errorf("valid %v: %d connections, %q", tr.Valid, tr.Connections.Reached, tr.Invalid)
	}
	if p := tr.PerConnection; p.RSSBytes != nil || p.KernelBytes != nil || tr.CPU["accept_us"] != nil {
		t.Errorf("figures of a server that nobody can see: %+v, CPU %v", p, tr.CPU)
	}
	// Each client has a loopback of its own.
	a = attachWith(t, f.at, "ws://127.0.0.2:"+s.port+"/", "--lab", f.file("hosts.toml"))
	if a.run != nil || a.status != 2 || !strings.Contains(a.said, "loopback") {
		t.Errorf("exit status %d: %s", a.status, a.said)
	}
}

// The memory of the server's own control group ends the ramp before the kernel does.
func TestAttachToAServerInASmallGroup(t *testing.T) {
	t.Parallel()
	needs.Server(t)
	needs.Root(t)
	needs.File(t, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "version 1 of control groups")
	group, err := os.MkdirTemp("/sys/fs/cgroup/memory", "connbench-test-")
	if err != nil {
		t.Skip("needs a control group that may be made:", err)
	}
	s := startStranger(t, "sh", "-c", `echo $$ > "$1/cgroup.procs" && exec "$0"`, byHand(t, "coder"), group)
	t.Cleanup(func() {
		s.Process.Kill()
		s.Wait()
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	const limit = 64 << 20
	if err := os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Fatal(err)
	}
	tr := attachTo(t, s.url("/"), "--cgroup", group, "--connections", "8000", "--rate", "1000", "--steps", "20").trial(t)
	if tr.Stop.Reason != cause.MemoryReserve.Reason || !strings.Contains(strings.Join(tr.Stop.Evidence, " "), filepath.Base(group)) {
		t.Errorf("stopped by %s at %d: %q", tr.Stop.Reason, tr.Connections.Peak, tr.Stop.Evidence)
	}
}

// IPv6, chosen sources, a process by its name, and Ctrl-C: what was opened is closed, what was
// measured is filed, and the server goes on.
func TestAttachIsInterrupted(t *testing.T) {
	needs.Server(t)
	t.Parallel()
	s := startStranger(t, byHand(t, "gws"), "--listen", "[::1]:0,127.0.0.1:0")
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", s.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + net.JoinHostPort("::1", s.port) + "/"
	s.connections(t)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for s.connections(t) < 50 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		interrupt()
	}()
	a := attachUntil(t, ctx, func(*exec.Cmd) {}, url, "--process", strings.TrimSpace(string(name)), "--sources", "::1", "--rate", "20")
	interrupt()
	tr := a.trial(t)
	if a.status != 1 || a.run.Manifest.State != record.StateInterrupted || tr.Connections.Peak < 25 || len(tr.Steps) < 2 {
		t.Errorf("exit status %d, state %s, %d connections, %d points\n%s", a.status, a.run.Manifest.State, tr.Connections.Peak, len(tr.Steps), a.said)
	}
	for deadline := time.Now().Add(20 * time.Second); s.connections(t) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", s.connections(t))
		}
	}
	if err := s.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the server is gone: %v", err)
	}
}

// connections is how many descriptors a stranger has more than when it was started.
func (s *stranger) connections(t *testing.T) int {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Process.Pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	if s.empty == 0 {
		s.empty = len(files)
	}
	return len(files) - s.empty
}
