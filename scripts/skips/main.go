// Command skips reads what `go test -json` prints, shows what a person wants to see
// of it, and fails where a test was skipped that no list excuses.
//
//	go test -json ./... | skips FILE
//
// Each line of FILE is a test, as PACKAGE.TEST, and the reason why it may be skipped;
// empty lines and those that begin with # are comments. A line about a test that is
// not there is a mistake as well.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | skips FILE")
		os.Exit(2)
	}
	list, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(2)
	}
	allowed, err := parse(string(list))
	if err != nil {
		fmt.Fprintf(os.Stderr, "skips: %s: %v\n", os.Args[1], err)
		os.Exit(2)
	}
	ok, err := follow(os.Stdin, os.Stdout, allowed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// parse reads the list: tests with their reasons.
func parse(text string) (map[string]string, error) {
	allowed := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		test, reason, _ := strings.Cut(line, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			return nil, fmt.Errorf("%s has no reason", test)
		}
		allowed[test] = reason
	}
	return allowed, nil
}

// event is a line of `go test -json`: see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
}

// name is how the list names a test.
func (e event) name() string { return e.Package + "." + e.Test }

// follow copies what people want to see from in to out: the lines of packages, all
// of tests that failed, and everything that is no event. It then tells the skipped
// tests, and whether all is well: nothing has failed, and the list is right.
func follow(in io.Reader, out io.Writer, allowed map[string]string) (ok bool, err error) {
	said := map[string]string{} // by test, while it runs
	ran := map[string]bool{}
	skipped := map[string]string{}
	failed := false
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			switch {
			case json.Unmarshal([]byte(line), &e) != nil || e.Action == "":
				fmt.Fprint(out, line)
			case e.Action == "output" && e.Test != "":
				said[e.name()] += e.Output
			case e.Action == "output" && e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "FAIL\n"), e.Action == "build-output":
				fmt.Fprint(out, e.Output)
			case e.Action == "fail" || e.Action == "build-fail":
				failed = true
				fmt.Fprint(out, said[e.name()])
			case e.Action == "skip" && e.Test != "":
				skipped[e.name()] = reason(said[e.name()])
			}
			if e.Test != "" {
				ran[e.name()] = true
				if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
					delete(said, e.name())
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	// Those that were running when a package panicked, or ran out of time.
	for _, name := range slices.Sorted(maps.Keys(said)) {
		failed = true
		fmt.Fprint(out, said[name])
	}

	unexcused := 0
	for _, test := range slices.Sorted(maps.Keys(skipped)) {
		excuse := allowed[test]
		if excuse == "" {
			unexcused++
			excuse = "NOT IN THE LIST"
		}
		fmt.Fprintf(out, "skipped: %s: %s (%s)\n", test, skipped[test], excuse)
	}
	unknown := 0
	for _, test := range slices.Sorted(maps.Keys(allowed)) {
		if parent, _, _ := strings.Cut(test, "/"); !ran[test] && !ran[parent] {
			unknown++
			fmt.Fprintf(out, "listed, but there is no such test: %s\n", test)
		}
	}
	fmt.Fprintf(out, "%d tests ran, %d of them skipped, %d of those without an excuse\n", len(ran), len(skipped), unexcused)
	return !failed && unexcused == 0 && unknown == 0, nil
}

// reason is the last line that a skipped test said before its end: without the file
// and the line that it was said at.
func reason(output string) string {
	last := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			last = line
		}
	}
	if _, after, found := strings.Cut(last, ": "); found && strings.Contains(last[:len(last)-len(after)], ".go:") {
		return after
	}
	return last
}
