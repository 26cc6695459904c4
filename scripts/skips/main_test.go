package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	got, err := parse("# comment\n\np.TestA   no VM here\np.TestB/c reason\n")
	if err != nil || !maps.Equal(got, map[string]string{"p.TestA": "no VM here", "p.TestB/c": "reason"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parse("p.TestA\n"); err == nil || !strings.Contains(err.Error(), "p.TestA has no reason") {
		t.Errorf("%v", err)
	}
}

const (
	passes = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}
`
	skips = `{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: needs root: no\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
`
	fails = `{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestC","Elapsed":0}
`
	ends = `{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t1s\n"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	empty  = `{"Action":"skip","Package":"q","Elapsed":0}` + "\n" // no test files
	hangs  = `{"Action":"output","Package":"p","Test":"TestD","Output":"panic: test timed out\n"}` + "\n"
	broken = `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined\n"}
{"ImportPath":"p","Action":"build-fail"}
`
)

func TestFollow(t *testing.T) {
	excused := map[string]string{"p.TestB": "CI is not root"}
	for name, test := range map[string]struct {
		input   string
		allowed map[string]string
		ok      bool
		want    []string
		not     string
	}{
		"all pass":       {"go vet ./...\n" + passes + ends + empty, nil, true, []string{"go vet ./...\n", "ok  \tp\t1s\n", "1 tests ran, 0 of them skipped, 0 of those without an excuse\n"}, "chatter"},
		"excused":        {skips + ends, excused, true, []string{"skipped: p.TestB: needs root: no (CI is not root)\n", "1 tests ran, 1 of them skipped, 0 "}, "RUN"},
		"not excused":    {passes + skips + ends, nil, false, []string{"skipped: p.TestB: needs root: no (NOT IN THE LIST)\n", "2 tests ran, 1 of them skipped, 1 "}, ""},
		"subtest":        {strings.ReplaceAll(skips, "TestB", "TestB/c") + strings.ReplaceAll(passes, "TestA", "TestB"), map[string]string{"p.TestB/c": "x"}, true, nil, ""},
		"subtest absent": {strings.ReplaceAll(passes, "TestA", "TestB"), map[string]string{"p.TestB/c": "x"}, true, nil, ""},
		"list too long":  {passes + ends, excused, false, []string{"listed, but there is no such test: p.TestB\n"}, ""},
		"failure":        {passes + fails + ends, nil, false, []string{"c_test.go:9: wrong\n"}, "chatter"},
		"timeout":        {passes + hangs, nil, false, []string{"panic: test timed out\n"}, "chatter"},
		"no build":       {broken, nil, false, []string{"x.go:1: undefined\n"}, ""},
	} {
		var out bytes.Buffer
		ok, err := follow(strings.NewReader(test.input), &out, test.allowed)
		if err != nil || ok != test.ok {
			t.Errorf("%s: %v, %v\n%s", name, ok, err, out.String())
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
		if test.not != "" && strings.Contains(out.String(), test.not) {
			t.Errorf("%s: %q in\n%s", name, test.not, out.String())
		}
	}
}
