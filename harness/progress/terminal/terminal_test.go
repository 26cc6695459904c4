package terminal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/cause"
	"connbench/harness/record"
)

// pseudo is both ends of a pseudoterminal: what is written to terminal is read from
// shown.
func pseudo(t *testing.T) (shown, terminal *os.File) {
	t.Helper()
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs pseudoterminals:", err)
	}
	t.Cleanup(func() { shown.Close() })
	number, err := unix.IoctlGetInt(int(shown.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(shown.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(shown.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120})
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return shown, terminal
}

// run shows a run of one trial on out, and waits in it until all phases are shown.
func run(out *os.File, wait func()) {
	t := New(out)
	t.Say("plan %s", "evil\x1b[2Jone\r\u009b3m")
	t.Begin(1, time.Minute)
	t.Trial(1, 1, "floor/tuned", 1)
	t.Phase("ramp", 0)
	t.Update(12_345, 0)
	t.Phase("hold", 5)
	wait()
	t.Done(record.Trial{Variant: "floor", Class: "tuned", Round: 1, Connections: record.Connections{Reached: 12_345},
		Noisy: true, Invalid: []string{"it said \x1b]0;owned\a"}}, true)
	t.Close()
	t.Close()
}

func TestPlainLines(t *testing.T) {
	for name, environment := range map[string]map[string]string{
		"no terminal":           nil,
		"dumb terminal":         {"TERM": "dumb"},
		"terminal of a purist":  {"TERM": "xterm", "NO_COLOR": "1"},
		"terminal without TERM": {"TERM": ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv("NO_COLOR", "")
			for key, value := range environment {
				t.Setenv(key, value)
			}
			var text string
			if environment == nil {
				file := filepath.Join(t.TempDir(), "out")
				out, err := os.Create(file)
				if err != nil {
					t.Fatal(err)
				}
				run(out, func() {})
				out.Close()
				all, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text = string(all)
			} else {
				text = onTerminal(t, "hold")
			}
			const want = "plan evil [2Jone  3m\n" +
				"trial 1 of 1: floor/tuned, round 1, about 1m0s left\n" +
				"  ramp\n" +
				"  hold, 5 s, 12,345 connections\n" +
				"floor/tuned round 1: 12,345 connections (); NOISY host, runs again at the end of the round; INVALID: it said  ]0;owned \n"
			if text = strings.ReplaceAll(text, "\r\n", "\n"); text != want {
				t.Errorf("got\n%q\nwant\n%q", text, want)
			}
		})
	}
}

// On a terminal there is a line that moves, and no control character of a foreign
// text.
func TestLiveLine(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	text := onTerminal(t, "hold  12,345 open")
	if !strings.Contains(text, "\x1b[") || strings.Contains(text, "trial 1 of 1") {
		t.Errorf("no live line: %q", text)
	}
	for _, bad := range []string{"\x1b[2J", "\u009b", "\x1b]0;", "\a"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q reaches the terminal: %q", bad, text)
		}
	}
}

// onTerminal is what a run shows on a terminal, which goes on after it has shown what.
func onTerminal(t *testing.T, what string) string {
	t.Helper()
	shown, terminal := pseudo(t)
	var text strings.Builder
	seen, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		waiting := true
		for {
			n, err := shown.Read(buffer) // EIO when the other end is closed
			text.Write(buffer[:n])
			if waiting && strings.Contains(text.String(), what) {
				waiting = false
				close(seen)
			}
			if err != nil {
				return
			}
		}
	}()
	run(terminal, func() { <-seen })
	terminal.Close()
	<-ended
	return text.String()
}

// What to do about a stop reason is said once in a run, and nothing where all is well.
func TestAdvice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	terminal := New(out)
	for _, c := range []*cause.Cause{cause.Target, cause.EpollWatches, cause.EpollWatches, cause.Refused} {
		terminal.Done(record.Trial{Variant: "floor", Class: "tuned", Stop: record.Stop{Reason: c.Reason}}, false)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*cause.Cause{cause.EpollWatches, cause.Refused} {
		if n := strings.Count(string(text), c.Advice); n != 1 {
			t.Errorf("%q is advised %d times:\n%s", c.Reason, n, text)
		}
	}
	if n := strings.Count(string(text), "to get further"); n != 2 {
		t.Errorf("advice %d times:\n%s", n, text)
	}
}
